"""The bridge over every builder, keras.applications and keras_hub."""

import keras
import pytest

from mm_keras.compress.bridge import to_tf_keras
from mm_keras.compress.parity import difference, random_inputs
from tests.compress.roundtrip import check_roundtrip
from tests.conformance import builder_cases

pytestmark = pytest.mark.slow

BUILDERS = {case.name: case for case in builder_cases()}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_builder(name):
    case = BUILDERS[name]
    bridge = check_roundtrip(case.build(), dict(case.batch), least=0)
    assert set(bridge.model.output) == set(bridge.source.output)


# The smallest member of each family, its least width and height, and where the graph may end:
# all further blocks are as those before.
FAMILIES = {
    "VGG16": (32, None),
    "ResNet50": (32, None),
    "ResNet50V2": (32, None),
    "MobileNet": (32, None),
    "MobileNetV2": (32, None),
    "MobileNetV3Small": (32, None),
    "DenseNet121": (32, "pool4_pool"),
    "NASNetMobile": (32, "normal_concat_5"),
    "EfficientNetB0": (32, None),
    "EfficientNetV2B0": (32, None),
    "ConvNeXtTiny": (32, None),
    "InceptionV3": (75, None),
    "InceptionResNetV2": (75, "block17_2_ac"),
    "Xception": (71, None),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_keras_applications(name):
    size, end = FAMILIES[name]
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    model = make(input_shape=(size, size, 3), weights=None, include_top=False)
    if end:
        model = keras.Model(model.input, model.get_layer(end).output)
    bridge = to_tf_keras(model)
    inputs = random_inputs(model, seed=1)
    expected = model(inputs, training=False)
    assert bridge.difference <= 1e-5
    # Untrained, signals vanish on the way: relative to what is left of them.
    assert difference(expected, bridge.model(inputs, training=False), least=0.0) <= 1e-3
    # What pruning and the like work on is there as tf_keras' own.
    carried = {type(b.layer).__name__ for b in bridge.layers.values() if b.kind == "carried"}
    assert carried <= {"Normalization", "LayerScale", "CustomScaleLayer"}


def test_keras_hub_resnet_and_transformer():
    pytest.importorskip("keras_hub", reason="keras_hub is an optional extra")
    from tests.encoders.test_hub_backbones import resnet, text

    keras.utils.set_random_seed(0)
    check_roundtrip(resnet())
    bert = text("BertBackbone").backbone  # dict in, dict out, masks from a layer of its own
    bridge = check_roundtrip(bert)
    assert set(bridge.model.output) == set(bert.output)
