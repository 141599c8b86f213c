"""Predictions that run the chosen modalities only."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras import layers
from tests.conformance.cases import floats

PIXELS = keras.Input((8, 8, 1))
CNN = keras.Model(PIXELS, keras.layers.Conv2D(4, 4, 4, activation="tanh")(PIXELS / 255))
MODALITIES = {
    "image": mm.Image((8, 8, 1), backbone=CNN),
    "extra": mm.Features(6, optional=True),
    "text": mm.Text(max_tokens=4, vocabulary_size=9, backbone="Conv1D"),
}


def batch(size=40):
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (size, 8, 8, 1)).astype("float32"),
        "extra": floats(size, 6),
        "extra_present": rng.random((size, 1)) < 0.7,
        "text": rng.integers(1, 9, (size, 4)),
    }
    inputs["text"][::5] = 0  # empty, and so absent
    return inputs


def build(**options):
    keras.utils.set_random_seed(0)
    model = mm.build_dfn(MODALITIES, 3, **{"gate_on": "inputs", "width": 8, **options})
    model.get_layer("label_logits").kernel.assign(
        3 * floats(*model.get_layer("label_logits").kernel.shape)
    )
    gate = model.get_layer("gate")
    gate.score.assign(2 * floats(*gate.score.shape))
    return model


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"selection": "hard", "fusion": "mean", "modality_dropout": 0.3, "auxiliary_heads": True},
        {"selection": "top_k", "fusion": "concat", "balance": 0.1},
        {"selection": "top_k", "fusion": "cross_attention", "hidden": (4,), "dropout": 0.2},
        {"selection": "soft", "gates": False},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_predictions_are_those_of_the_model(options):
    model, inputs = build(**options), batch()
    expected = mm.inference_model(model).predict(inputs, verbose=0)
    assert np.ptp(expected["label"], axis=0).max() > 0.1
    routed = mm.RoutedPredictor(model)
    assert_same(routed.predict(inputs, batch_size=15), expected)


def test_branches_that_are_not_chosen_are_not_there():
    model, inputs = build(selection="hard"), batch()
    routed = mm.RoutedPredictor(model)
    gates = routed.predict(inputs)["gates"]
    assert np.count_nonzero(gates, axis=0).min() > 0
    backbones = {"extra": "extra_projection", "image": "image_backbone", "text": "text_backbone"}
    for index, name in enumerate(sorted(MODALITIES)):
        branch = routed._branch(tuple(index == other for other in range(3)))
        layer_names = {layer.name for layer in branch.layers}
        for other, backbone in backbones.items():
            assert (backbone in layer_names) == (name == other)
    assert not {layer.name for layer in routed._gate.layers} & set(backbones.values())


def test_follows_training():
    model, inputs = build(selection="hard"), batch()
    routed = mm.RoutedPredictor(model)
    before = routed.predict(inputs)
    model.compile(
        keras.optimizers.SGD(1.0), {"label": mm.losses.classification()}, jit_compile=False
    )
    model.fit(inputs, {"label": np.arange(40) % 3}, verbose=0)
    after = routed.predict(inputs)
    assert np.abs(after["label"] - before["label"]).max() > 1e-3
    assert_same(after, model.predict(inputs, verbose=0))


def test_sample_without_any_modality():
    spec = mm.Features(6, optional=True)
    model = mm.build_dfn({"a": spec, "b": spec}, 3, selection="hard", gate_on="inputs")
    inputs = {"a": floats(3, 6), "b": floats(3, 6, seed=1)}
    inputs |= {"a_present": np.array([[0], [0], [1]], "bool")}
    inputs |= {"b_present": np.array([[0], [1], [0]], "bool")}
    routed = mm.RoutedPredictor(model).predict(inputs)
    np.testing.assert_array_equal(routed["gates"], [[0, 0], [0, 1], [1, 0]])
    assert_same(routed, model.predict(inputs, verbose=0))


def test_graph_by_hand():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    rows = {name: keras.layers.Reshape((1, 4))(x) for name, x in inputs.items()}
    cheap = {name: keras.layers.Dense(3, name=f"{name}_cheap")(x) for name, x in rows.items()}
    dear = {name: keras.layers.Dense(8, name=f"{name}_dear")(x) for name, x in rows.items()}
    gates = layers.ModalityGate("hard")(cheap)["gates"]
    gated = layers.ApplyGates()(features=dear, gates=gates)
    model = keras.Model(inputs, {"out": layers.ConcatFusion()(gated)})
    x = {"a": floats(8, 4), "b": floats(8, 4, seed=1)}
    assert_same(mm.RoutedPredictor(model).predict(x), model.predict(x, verbose=0))


def test_models_that_can_leave_nothing_out():
    spec = mm.Features(6)
    pair = {"a": spec, "b": spec}
    with pytest.raises(ValueError, match="`model` must have one ApplyGates: build it with"):
        mm.RoutedPredictor(mm.build_dfn(pair, 3, selection="hard"))
    with pytest.raises(ValueError, match="`model` must have one ModalityGate"):
        mm.RoutedPredictor(mm.build_mcnn(pair, 3))
    with pytest.raises(ValueError, match=r"without the others.* 'exchange' stands before 'a'"):
        mm.RoutedPredictor(mm.build_dfn(pair, 3, gate_on="inputs", exchange="mmtm"))
    with pytest.raises(TypeError, match=r"`model` must be a functional keras\.Model"):
        mm.RoutedPredictor(keras.layers.Dense(1))
    plain = keras.Model(PIXELS, keras.layers.Dense(1)(PIXELS))
    with pytest.raises(TypeError, match="`model` must have dicts for inputs and outputs"):
        mm.RoutedPredictor(plain)


def test_inputs():
    spec = mm.Features(6)
    routed = mm.RoutedPredictor(mm.build_dfn({"a": spec, "b": spec}, 3, gate_on="inputs"))
    with pytest.raises(ValueError, match=r"Missing: \['b'\]"):
        routed.predict({"a": floats(2, 6)})
    with pytest.raises(ValueError, match="`inputs` must have one number of samples"):
        routed.predict({"a": floats(2, 6), "b": floats(3, 6)})
    with pytest.raises(ValueError, match=r"at least 1\. Received"):
        routed.predict({"a": floats(0, 6), "b": floats(0, 6)})
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
        routed.predict({"a": floats(2, 6), "b": floats(2, 6)}, batch_size=0)
