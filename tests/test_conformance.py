"""Every public layer, loss, fusion and builder passes the generic checks."""

import keras
import pytest

import mm_keras as mm
from mm_keras import testing
from tests.conformance import EXEMPT, builder_cases, layer_cases, loss_cases
from tests.conformance.cases import fusion_features

LAYERS = layer_cases()
LOSSES = loss_cases()
BUILDERS = builder_cases()


def _id(case):
    return case.name


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("case", LAYERS, ids=_id)
def test_layer(case):
    testing.check_layer(case.make(), case.inputs, case.call_kwargs, **case.options)


@pytest.mark.parametrize("case", LOSSES, ids=_id)
def test_loss(case):
    testing.check_loss(case.make(), case.y_true, case.y_pred, float16_y_pred=case.float16_y_pred)


@pytest.mark.parametrize("case", BUILDERS, ids=_id)
def test_builder(case):
    testing.check_builder(case.build, case.batch, case.labels, **case.options)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("names", [("audio", "image"), ("audio", "image", "text")], ids=len)
@pytest.mark.parametrize("name", mm.layers.FUSIONS)
def test_fusion(name, names, dtype):
    cls, options = mm.layers.FUSIONS[name]
    testing.check_fusion(
        cls(dtype=dtype, **options),
        fusion_features(names),
        rtol=1e-5 if dtype == "float32" else 1e-2,
    )


@pytest.mark.parametrize("pooling", ["max", "attention"])
@pytest.mark.parametrize("name", ["concat", "cross_attention"])
def test_fusion_with_pooling(name, pooling):
    testing.check_fusion(mm.layers.get_fusion(name, pooling), fusion_features(("a", "b")))


def _covered(cases):
    return {case.name.split("-")[0] for case in cases}


def test_table_is_complete():
    assert set(mm.layers.__all__) - set(EXEMPT) <= _covered(LAYERS)
    assert set(mm.losses.__all__) - set(EXEMPT) <= _covered(LOSSES)
    assert set(mm.BUILDERS) <= _covered(BUILDERS)
    fusions = {case.name.split("-")[1] for case in LAYERS if case.name.startswith("fusion-")}
    assert set(mm.layers.FUSIONS) == fusions


def test_registered_layers_and_losses_are_public():
    public = {*mm.layers.__all__, *mm.losses.__all__}
    homes = ("mm_keras.layers", "mm_keras.losses")
    for cls in keras.saving.get_custom_objects().values():
        if isinstance(cls, type) and cls.__module__.startswith(homes):
            assert cls.__name__ in public
