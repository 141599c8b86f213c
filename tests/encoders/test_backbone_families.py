"""The smallest member of each family of keras.applications, built and run through mm.Image."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders.backbones import APPLICATIONS
from mm_keras.encoders.image import ImageEncoder

FAMILIES = {
    "VGG16": "vgg16",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "DenseNet121": "densenet",
    "NASNetMobile": "nasnet",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
}


def test_every_family_is_here():
    homes = {getattr(keras.applications, name).__module__ for name in APPLICATIONS}
    assert {home.rpartition(".")[2] for home in homes} == {*FAMILIES.values(), "vgg19"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_family(name):
    keras.utils.set_random_seed(0)
    size = APPLICATIONS[name].minimum
    spec = mm.Image((size, size, 3), backbone=name, weights=None, activation=None)
    encoder = ImageEncoder(spec, 4, "image")
    inputs = keras.Input(spec.input_shape)
    model = keras.Model(inputs, encoder(inputs)[0])
    x = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    module = getattr(keras.applications, FAMILIES[name])
    maps = np.asarray(encoder.backbone.model(module.preprocess_input(x.copy())))
    kernel, bias = encoder.projection[0].get_weights()
    expected = (maps @ kernel[0, 0] + bias).reshape(1, -1, 4)
    features = np.asarray(model(x))
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
