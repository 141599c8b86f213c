"""Dynamic fusion: gates, branches, what is chosen and what it costs."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.conformance.cases import HEADS, floats

PAIR = {"a": mm.Features(6), "b": mm.Features((2, 4), optional=True)}
IMAGE = mm.Image((8, 8, 1), backbone="SmallCNN")


def batch(size=4):
    present = np.arange(size)[:, None] % 2 == 0
    return {"a": floats(size, 6), "b": floats(size, 2, 4, seed=1), "b_present": present}


def build(modalities=None, num_classes=3, **options):
    """Returns a model whose gates are not those of a new one; the same for the same options."""
    keras.utils.set_random_seed(0)
    model = mm.build_dfn(modalities or PAIR, num_classes, **{"width": 8, **options})
    noise = np.random.default_rng(0)
    model.set_weights(
        [
            w + noise.normal(size=w.shape, scale=0.5) if w.ndim < 3 else w
            for w in model.get_weights()
        ]
    )
    model.get_layer("gate").temperature.assign(options.get("temperature", 1.0))
    return model


def cnn(name):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 4, 4, activation="tanh")(x), name=name)


def pictures(size=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (size, 8, 8, 1)).astype("float32")


def predict(model, inputs):
    return {name: np.asarray(x) for name, x in model(inputs, training=False).items()}


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_oracle():
    model, inputs = build(), batch()
    dense = {n: [np.asarray(w) for w in model.get_layer(f"{n}_projection").weights] for n in "ab"}
    f = {n: np.maximum(inputs[n] @ dense[n][0] + dense[n][1], 0) for n in "ab"}
    pooled = np.stack([f["a"], f["b"].mean(1)], axis=1)
    gate = model.get_layer("gate")
    scores = (np.tanh(pooled @ np.asarray(gate.kernel) + gate.bias) @ np.asarray(gate.score))[
        ..., 0
    ]
    scores[1::2, 1] = -np.inf
    gates = softmax(scores)
    kernel, bias = (np.asarray(w) for w in model.get_layer("label_logits").weights)
    label = softmax((gates[..., None] * pooled).sum(1) @ kernel + bias)
    outputs = predict(model, inputs)
    np.testing.assert_allclose(outputs["gates"], gates, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(outputs["label"], label, rtol=1e-4, atol=1e-6)
    assert not np.any(outputs["gates"][1::2, 1])  # absent: exactly 0
    assert np.ptp(outputs["gates"][::2, 0]) > 1e-3


def test_gates_start_even_among_those_present():
    gates = predict(mm.build_dfn(PAIR, 3), batch())["gates"]
    np.testing.assert_allclose(gates, [[0.5, 0.5], [1, 0]] * 2, rtol=1e-6)


@pytest.mark.parametrize("selection", ["top_k", "hard"])
def test_what_is_not_chosen_does_not_reach_the_label(selection):
    three = {**PAIR, "b": mm.Features((2, 4)), "c": mm.Features(5)}
    model = build(three, selection=selection, fusion="concat")
    inputs = {"a": floats(64, 6), "b": floats(64, 2, 4, seed=1), "c": floats(64, 5, seed=2)}
    outputs = predict(model, inputs)
    chosen = outputs["gates"] > 0
    assert (chosen.sum(1) == (2 if selection == "top_k" else 1)).all()
    assert ((chosen.any(0)) & ~(chosen.all(0))).sum() >= 2
    kernel = model.get_layer("label_logits").kernel
    for index in range(3):
        kernel_without = kernel.numpy().copy()
        kernel_without[8 * index : 8 * index + 8] = 0
        other = build(three, selection=selection, fusion="concat")
        other.get_layer("label_logits").kernel.assign(kernel_without)
        same = np.isclose(predict(other, inputs)["label"], outputs["label"], rtol=1e-5).all(1)
        np.testing.assert_array_equal(same, ~chosen[:, index])


def test_without_gates_it_is_fed_as_build_mcnn_is():
    model, whole = build(gates=False), build()
    inputs = batch()
    np.testing.assert_array_equal(predict(model, inputs)["label"], predict(whole, inputs)["label"])
    assert list(model.output) == ["label"]
    inside = keras.Model(model.input, model.get_layer("gate").output[-2])
    np.testing.assert_array_equal(inside(inputs), predict(whole, inputs)["gates"])
    model.compile("sgd", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    model.fit(inputs, np.array([0, 1, 2, 0]), verbose=0)


def test_heads_of_every_kind():
    model = mm.build_dfn(PAIR, HEADS, width=8, auxiliary_heads=True)
    own = {f"{modality}_{head}" for modality in PAIR for head in HEADS}
    assert set(model.output) == {"gates", *HEADS, *own}
    assert set(mm.inference_model(model).output) == {"gates", *HEADS}


def noisy(size, seed):
    """Two views of a class, of which one is noise; and which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=size)
    clean = rng.integers(2, size=size)
    x = {}
    for index, name in enumerate("ab"):
        x[name] = np.where((clean == index)[:, None], 2 * np.eye(4)[labels], 0) + rng.normal(
            size=(size, 4), scale=0.7
        )
        x[name] = np.concatenate(
            [x[name], (clean != index)[:, None] + 0.3 * rng.normal(size=(size, 1))], 1
        )
    return {name: v.astype("float32") for name, v in x.items()}, labels, clean


def train(model, inputs, labels, epochs=8, callbacks=()):
    model.compile(
        keras.optimizers.Adam(0.01), {"label": mm.losses.classification()}, jit_compile=False
    )
    return model.fit(
        inputs,
        {"label": labels},
        epochs=epochs,
        batch_size=64,
        verbose=0,
        callbacks=list(callbacks),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"selection": "hard", "gumbel": True, "balance": 0.1, "seed": 0},
        {"gate_on": "inputs"},
    ],
    ids=["soft", "hard", "inputs"],
)
def test_gates_find_the_clean_modality(options):
    keras.utils.set_random_seed(0)
    spec = mm.Features(5)
    model = mm.build_dfn({"a": spec, "b": spec}, 4, width=16, **options)
    inputs, labels, _ = noisy(2000, 0)
    train(model, inputs, labels)
    inputs, labels, clean = noisy(1000, 1)
    outputs = model.predict(inputs, verbose=0)
    assert np.mean(outputs["gates"].argmax(1) == clean) > 0.85
    assert np.mean(outputs["label"].argmax(1) == labels) > 0.75


def test_costs_turn_gates_to_what_is_cheap():
    spec, shares = mm.Features(5), []
    inputs, labels, _ = noisy(512, 0)
    inputs["b"] = inputs["a"]  # neither knows more
    for costs in ({"a": 0, "b": 1}, {"a": 1, "b": 0}):
        keras.utils.set_random_seed(0)
        model = mm.build_dfn(
            {"a": spec, "b": spec}, 4, width=8, costs=costs, cost_weight=1.0, seed=0
        )
        train(model, inputs, labels, epochs=6)
        shares.append(model.predict(inputs, verbose=0)["gates"][:, 0].mean())
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_losses_on_gates_act_in_training_only():
    plain, priced = build(), build(balance=2.0, costs={"a": 1, "b": 3}, cost_weight=0.5)
    inputs, labels = batch(), {"label": np.array([0, 1, 2, 0])}
    gates = predict(plain, inputs)["gates"].astype("float64")
    balance = 2 * ((gates.mean(0) - [0.75, 0.25]) ** 2).sum()
    cost = (gates @ [1, 3]).mean()
    losses = []
    for model in (plain, priced):
        model.compile("sgd", {"label": mm.losses.classification()}, jit_compile=False)
        losses.append(model.train_on_batch(inputs, labels))
    assert losses[1] - losses[0] == pytest.approx(2 * balance + 0.5 * cost, rel=1e-3)
    shipped = mm.inference_model(priced)
    assert not {"load_balance", "gate_cost"} & {layer.name for layer in shipped.layers}


def test_several_backbones_look_at_one_image():
    model = mm.build_dfn(
        {"image": dataclasses.replace(IMAGE, optional=True), "a": mm.Features(6)},
        3,
        backbones={"image": ["SmallCNN", cnn("mine")]},
        fusion="concat",
        width=8,
    )
    assert list(model.input) == ["a", "image", "image_present"]
    names = [layer.name for layer in model.layers]
    assert {"image_SmallCNN_backbone", "image_mine_backbone"} <= set(names)
    assert names.count("image") == 1
    inputs = {"a": floats(2, 6), "image": pictures(2), "image_present": [[True], [False]]}
    inputs["image_present"] = np.array(inputs["image_present"])
    np.testing.assert_allclose(predict(model, inputs)["gates"], [[1 / 3] * 3, [1, 0, 0]], rtol=1e-6)


def test_own_model_in_a_branch_is_that_model():
    mine = cnn("mine")
    model = mm.build_dfn({"image": IMAGE}, 3, backbones={"image": ["SmallCNN", mine]}, width=8)
    theirs = model.get_layer("image_mine_backbone")
    assert theirs.weights[0] is mine.weights[0]
    with_others = mm.build_dfn(
        {"left": IMAGE, "right": IMAGE},
        3,
        backbones={"left": ["SmallCNN", mine], "right": ["SmallCNN", mine]},
        share_encoder=[("left_SmallCNN", "right_SmallCNN")],
        width=8,
    )
    names = {layer.name for layer in with_others.layers}
    assert {"left_mine_right_mine_backbone", "left_SmallCNN_right_SmallCNN_backbone"} <= names
    x = pictures(3)
    gates = predict(with_others, {"left": x, "right": x})["gates"]
    np.testing.assert_allclose(gates[:, 0], gates[:, 2], rtol=1e-6)  # left_SmallCNN, right_SmallCNN


@pytest.mark.parametrize("exchange", ["mmtm", "attention", "bottleneck"])
def test_exchange_lets_modalities_know_each_other(exchange):
    spec = mm.Features((3, 6))
    inputs = {"a": floats(4, 3, 6), "b": floats(4, 3, 6, seed=1)}
    model = build({"a": spec, "b": spec}, exchange=exchange)
    for tensor, knows in (
        (model.get_layer("a_activation").output, False),
        (model.get_layer("exchange").output[0], True),
    ):
        inside = keras.Model(model.input, tensor)
        before = np.asarray(inside(inputs))
        after = np.asarray(inside({**inputs, "b": inputs["b"][::-1]}))
        assert (np.abs(after - before).max() > 1e-4) == knows


def test_gates_on_inputs_do_not_wait_for_backbones():
    modalities = {"image": IMAGE, "a": mm.Features(6)}
    model = mm.build_dfn(modalities, 3, selection="hard", gate_on="inputs", width=8)
    inputs = {"image": pictures(16), "a": floats(16, 6)}
    before = predict(model, inputs)
    for weight in model.get_layer("image_backbone").weights:
        weight.assign(weight + 0.1)
    after = predict(model, inputs)
    np.testing.assert_array_equal(after["gates"], before["gates"])
    changed = np.abs(after["label"] - before["label"]).max(1) > 1e-6
    np.testing.assert_array_equal(changed, before["gates"][:, 1] == 1)
    assert changed.any()
    assert not changed.all()


MIXED = {
    "audio": mm.Audio(2000, 8000, mel_bins=16, optional=True),
    "image": IMAGE,
    "table": mm.Tabular(numeric=("x", "y"), normalize=False),
    "text": mm.Text(max_tokens=4, vocabulary_size=9, backbone="Conv1D"),
    "video": mm.Video(2, (8, 8, 1), backbone="SmallCNN"),
    "views": mm.Views(2, (8, 8, 1), backbone="SmallCNN", shared=False, optional_views=True),
}


def test_gates_on_inputs_of_every_modality():
    rng = np.random.default_rng(0)
    model = mm.build_dfn(
        MIXED, 3, selection="hard", gate_on="inputs", modality_dropout=0.3, width=8
    )
    inputs = {
        "audio": rng.uniform(-1, 1, (2, 2000)),
        "audio_present": np.array([[True], [False]]),
        "image": pictures(2),
        "table": floats(2, 2),
        "text": np.array([[1, 2, 0, 0], [0, 0, 0, 0]]),
        "video": rng.uniform(0, 255, (2, 2, 8, 8, 1)),
        "views": rng.uniform(0, 255, (2, 2, 8, 8, 1)),
        "views_present": np.array([[True, False], [False, False]]),
    }
    gates = predict(model, inputs)["gates"]
    np.testing.assert_array_equal(np.sort(gates, 1), np.eye(6)[[5, 5]])
    soft = mm.build_dfn(MIXED, 3, gate_on="inputs", width=8)
    expected = [[1 / 6] * 6, [0, 1 / 3, 1 / 3, 0, 1 / 3, 0]]
    np.testing.assert_allclose(predict(soft, inputs)["gates"], expected, rtol=1e-6)


def test_saved_model_has_the_gates(tmp_path):
    model, inputs = build(exchange="bottleneck", selection="top_k"), batch()
    mm.export(model, tmp_path, format="saved_model", check=False)
    loaded = tf.saved_model.load(tmp_path)  # `serve` alone would not keep its variables
    served = loaded.serve({name: tf.constant(array) for name, array in inputs.items()})
    for name, expected in predict(model, inputs).items():
        np.testing.assert_allclose(served[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tutorial_form():
    """MobileNetV2 and ResNet50 on one image, attention between their maps, concatenation, dense."""
    model = mm.build_dfn(
        {"image": mm.Image((32, 32, 3), weights=None)},
        10,
        backbones={"image": ["MobileNetV2", "ResNet50"]},
        exchange="attention",
        fusion="concat",
        hidden=(64,),
    )
    assert {"image_MobileNetV2_backbone", "image_ResNet50_backbone"} <= {
        layer.name for layer in model.layers
    }
    assert model.get_layer("fusion").output.shape == (None, 256)
    x = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    model.compile("sgd", {"label": mm.losses.classification()}, jit_compile=False)
    history = model.fit({"image": x}, {"label": np.arange(4)}, verbose=0)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"exchange": "gossip"}, ValueError, "`exchange` must be one of"),
        ({"selection": "softly"}, ValueError, "`selection` must be one of .* mean 'soft'"),
        ({"selection": "top_k", "top_k": 3}, ValueError, "`top_k` must be at most 2"),
        ({"selection": "top_k", "top_k": 1}, ValueError, "`top_k` must be at least 2"),
        ({"temperature": 0.0}, ValueError, "`temperature` must be above 0"),
        ({"level": "pixel"}, ValueError, "`level` must be one of"),
        ({"level": "position"}, ValueError, "`level` must be 'modality' for features with differ"),
        ({"gumbel": "yes"}, TypeError, "`gumbel` must be a bool"),
        ({"gate_on": "labels"}, ValueError, "`gate_on` must be one of"),
        (
            {"gate_on": "inputs", "level": "position"},
            ValueError,
            "`level` must be 'modality' for gates on inputs",
        ),
        ({"balance": -1.0}, ValueError, r"`balance` must be at least 0\.0"),
        ({"costs": {"a": 1}}, ValueError, r"`costs` must be {modality: cost} .*\['a', 'b'\]"),
        ({"costs": [1, 2]}, ValueError, "`costs` must be {modality: cost}"),
        ({"costs": {"a": 1, "b": -1}}, ValueError, r"`costs\['b'\]` must be at least 0\.0"),
        ({"cost_weight": -1}, ValueError, r"`cost_weight` must be at least 0\.0"),
        ({"gates": 1}, TypeError, "`gates` must be a bool"),
        ({"fusion": "concatt"}, ValueError, "`fusion` must be one of .* Did you mean 'concat'"),
        ({"width": 0}, ValueError, "`width` must be an integer of at least 1"),
        ({"modality_dropout": 1.0}, ValueError, "`modality_dropout` must be"),
        (
            {"backbones": ["SmallCNN"]},
            TypeError,
            r"`backbones` must be {modality: \[backbone, …\]}",
        ),
        ({"backbones": {"aa": ["x"]}}, ValueError, "`backbones` must name modalities out of"),
        ({"backbones": {"a": ["x"]}}, ValueError, "`backbones` must name modalities that have a"),
    ],
)
def test_arguments(options, error, message):
    with pytest.raises(error, match=message):
        mm.build_dfn(PAIR, 3, **options)


@pytest.mark.parametrize(
    ("spec", "backbones", "message"),
    [
        (IMAGE, "SmallCNN", r"`backbones\['image'\]` must be a list"),
        (IMAGE, [], r"`backbones\['image'\]` must be a list of one backbone or more"),
        (IMAGE, ["SmallCNN", "SmallCNN"], "must have each backbone once"),
        (IMAGE, ["SmallCNN", "SmallCnn"], "`backbones` must have names that differ"),
        (IMAGE, ["SmallCNN", "MobileNetV2"], "`shape` must be at least 32×32"),
        (
            mm.Image((8, 8, 1), backbone="SmallCNN", weights="some.weights.h5"),
            ["SmallCNN"],
            "`weights` must be 'auto', 'imagenet' or None for a modality of several",
        ),
    ],
)
def test_backbones(spec, backbones, message):
    with pytest.raises(ValueError, match=message):
        mm.build_dfn({"image": spec}, 3, backbones={"image": backbones})


def test_names_and_numbers():
    with pytest.raises(ValueError, match="must leave the name 'gates' to the output"):
        mm.build_dfn({"gates": mm.Features(3), "b": mm.Features(3)}, 3)
    with pytest.raises(ValueError, match="`exchange` must be None where there is one modality"):
        mm.build_dfn({"a": mm.Features(3)}, 3, exchange="attention")
