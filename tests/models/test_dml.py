"""Mutual learning: what training does to students, who is in the ensemble, and what ships.

Over 400 lines: all of them are of one builder, and share its students and training loop.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.layers import ModalityDropout, MutualLearning
from mm_keras.training import student_losses

VECTORS = {"a": mm.Features(3), "b": mm.Features(5)}
OPTIONAL = {"a": mm.Features(3), "b": mm.Features(5, optional=True)}
ONE = {"x": mm.Features(3)}
IMAGE = mm.Image((8, 8, 1), backbone="SmallCNN")
NOISE = np.random.default_rng(0)
X = {
    "a": NOISE.normal(size=(24, 3)).astype("float32"),
    "b": NOISE.normal(size=(24, 5)).astype("float32"),
}
Y = (X["a"][:, 0] > 0).astype("int32") + (X["b"][:, 0] > 0)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def build(modalities=None, num_classes=3, **options):
    return mm.build_dml(modalities or VECTORS, num_classes, **{"width": 8, **options})


def fit(model, x=None, y=Y, losses=None, steps=9, optimizer=None):
    """Trains in three batches of 8, the same in every call."""
    x = X if x is None else x
    losses = losses or student_losses(model)
    optimizer = optimizer or keras.optimizers.SGD(0.2, momentum=0.5)
    model.compile(optimizer, losses, run_eagerly=True)  # a few steps: tracing takes longer
    labels = dict.fromkeys(losses, y)
    model.fit(x, labels, batch_size=8, epochs=steps // 3, shuffle=False, verbose=0)
    return model


def weights_of(model, prefix=""):
    """Returns `{path: array}` of the trainable weights of layers whose name starts so."""
    return {
        weight.path.removeprefix(prefix): weight.numpy()
        for layer in model.layers
        if layer.name.startswith(prefix)
        for weight in layer.trainable_weights
    }


def assert_same(one, other, atol=1e-6):
    assert one.keys() == other.keys()
    assert one
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=atol, err_msg=key)


def differ(one, other):
    return any(np.abs(one[key] - other[key]).max() > 1e-3 for key in one)


def predict(model, x=None):
    return {key: np.asarray(value) for key, value in model(x or X, training=False).items()}


# Training


def student_alone(name, weights):
    """A plain network of one modality, with a student's weights."""
    model = mm.build_mcnn({name: VECTORS[name]}, 3, width=8, hidden=(6,))
    for layer in model.layers:
        own = layer.name if layer.name.startswith(f"{name}_") else f"{name}_{layer.name}"
        for weight in layer.weights:
            weight.assign(weights[weight.path.replace(layer.name, own)])
    return model


def set_weights(model, weights):
    for layer in model.layers:
        for weight in layer.trainable_weights:
            weight.assign(weights[weight.path])


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_without_weight_students_train_as_they_would_alone(optimizer):
    def make():
        return getattr(keras.optimizers, optimizer)(0.05)

    model = build(hidden=(6,), mutual_weight=0.0)
    before = weights_of(model)
    fit(model, optimizer=make())
    together = weights_of(model)
    for name in "ab":
        alone = student_alone(name, before)
        losses = {"label": mm.losses.classification()}
        fit(alone, {name: X[name]}, losses=losses, optimizer=make())
        for layer in alone.layers:
            own = layer.name if layer.name.startswith(f"{name}_") else f"{name}_{layer.name}"
            for weight in layer.trainable_weights:
                path = weight.path.replace(layer.name, own)
                np.testing.assert_allclose(weight.numpy(), together[path], rtol=1e-4, atol=1e-5)
                assert np.abs(weight.numpy() - before[path]).max() > 1e-3
    mutual = build(hidden=(6,), mutual_weight=1.0)
    set_weights(mutual, before)
    fit(mutual, optimizer=make())
    assert differ(together, weights_of(mutual))


@pytest.mark.parametrize("target", ["peers", "mean"])
def test_same_start_and_batches_keep_peers_identical(target):
    model = build(ONE, peers=3, hidden=(6,), target=target)
    copy_student(model, "peer_1", model, "peer_2")
    before = weights_of(model, "peer_1")
    assert differ(before, weights_of(model, "peer_3"))
    fit(model, {"x": X["a"]})
    assert_same(weights_of(model, "peer_1"), weights_of(model, "peer_2"))
    assert differ(before, weights_of(model, "peer_1"))
    assert differ(weights_of(model, "peer_1"), weights_of(model, "peer_3"))


def copy_student(model, student, other, name):
    """Gives the student `name` of `other` the weights of a student."""
    weights = weights_of(model, student)
    for layer in other.layers:
        if layer.name.startswith(name):
            for weight in layer.trainable_weights:
                weight.assign(weights[weight.path.removeprefix(name)])


def test_swapping_students_swaps_losses_and_what_they_become():
    model, swapped = (build(ONE, peers=2, hidden=(6,)) for _ in range(2))
    copy_student(model, "peer_1", swapped, "peer_2")
    copy_student(model, "peer_2", swapped, "peer_1")
    histories = []
    for each in (model, swapped):
        fit(each, {"x": X["a"]})
        histories.append(
            each.evaluate(
                {"x": X["a"]}, dict.fromkeys(student_losses(each), Y), return_dict=True, verbose=0
            )
        )
    for one, other in (("peer_1", "peer_2"), ("peer_2", "peer_1")):
        assert_same(weights_of(model, one), weights_of(swapped, other))
        np.testing.assert_allclose(
            histories[0][f"{one}_loss"], histories[1][f"{other}_loss"], rtol=1e-5
        )
    assert abs(histories[0]["peer_1_loss"] - histories[0]["peer_2_loss"]) > 1e-4


def test_a_student_learns_from_its_peer_alone():
    """Without labels of its own it comes to predict what the other does."""
    losses = {"b": mm.losses.classification()}
    y = (X["b"][:, 0] > 0).astype("int32")
    x = {"a": X["b"][:, :3].copy(), "b": X["b"]}
    distances = []
    for weight in (0.0, 2.0):
        keras.utils.set_random_seed(1)
        model = build(mutual_weight=weight)
        before = weights_of(model)
        fit(model, x, y, losses, steps=45)
        after = weights_of(model)
        taught = {key: value for key, value in after.items() if key.startswith("a_")}
        assert differ({key: before[key] for key in taught}, taught) == (weight > 0)
        outputs = predict(model, x)
        distances.append(np.abs(outputs["a"] - outputs["b"]).mean())
        teacher = {key: value for key, value in after.items() if key.startswith("b_")}
        if not weight:
            untaught = teacher
    assert distances[1] < 0.5 * distances[0]
    assert differ(untaught, teacher)  # which in turn learns from its student


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_samples_without_a_label_serve_mutual_learning_alone(weight):
    model = build(mutual_weight=weight)
    before, apart = weights_of(model), []
    outputs = predict(model)
    apart.append(np.abs(outputs["a"] - outputs["b"]).mean())
    losses = student_losses(model)
    model.compile(keras.optimizers.SGD(0.5), losses, run_eagerly=True)
    nothing = dict.fromkeys(losses, np.zeros(24))
    model.fit(X, dict.fromkeys(losses, Y), sample_weight=nothing, epochs=9, verbose=0)
    outputs = predict(model)
    apart.append(np.abs(outputs["a"] - outputs["b"]).mean())
    assert differ(before, weights_of(model)) == bool(weight)
    assert (apart[1] < 0.7 * apart[0]) == bool(weight)


def test_evaluate_is_without_the_mutual_term():
    model = fit(build(mutual_weight=5.0), steps=3)
    measured = model.evaluate(X, dict.fromkeys("ab", Y), return_dict=True, verbose=0)
    np.testing.assert_allclose(measured["loss"], measured["a_loss"] + measured["b_loss"], rtol=1e-5)


# Absent modalities


def presence(share):
    present = np.ones((24, 1), "bool")
    present[: int(24 * (1 - share))] = False
    return {**X, "b_present": present}


def test_a_student_whose_modality_is_absent_learns_nothing_and_teaches_nothing():
    losses = dict.fromkeys("ab", mm.losses.classification())
    model = build(OPTIONAL)
    before = weights_of(model)
    alone = build(OPTIONAL, mutual_weight=0.0)
    set_weights(alone, before)
    everywhere_absent = presence(0.0)
    fit(model, everywhere_absent, losses=losses)
    fit(alone, everywhere_absent, losses=losses)
    assert_same(
        weights_of(model, "b_"),
        {k.removeprefix("b_"): v for k, v in before.items() if k.startswith("b_")},
        atol=0,
    )
    assert_same(weights_of(model, "a_"), weights_of(alone, "a_"))


def test_garbage_in_absent_samples_changes_no_training():
    models, before = [], None
    for garbage in (0.0, np.nan):
        model = build(OPTIONAL, hidden=(4,))
        before = before or weights_of(model)
        set_weights(model, before)
        x = presence(0.5)
        x["b"] = np.where(x["b_present"], x["b"], garbage).astype("float32")
        models.append(fit(model, x))
    assert_same(weights_of(models[0]), weights_of(models[1]), atol=0)
    assert differ(before, weights_of(models[0]))


def test_the_ensemble_is_the_mean_of_who_is_there():
    model = build(OPTIONAL)
    x = presence(0.5)
    found = predict(model, x)
    mean = (found["a"] + found["b"]) / 2
    expected = np.where(x["b_present"], mean, found["a"])
    np.testing.assert_allclose(found["label"], expected, rtol=1e-5)


def test_padding_of_a_text_counts_as_absent():
    model = build({"a": mm.Features(3), "text": mm.Text(4, 9)})
    text = np.array([[2, 3, 0, 0], [0, 0, 0, 0]], "int32")
    found = predict(model, {"a": X["a"][:2], "text": text})
    np.testing.assert_allclose(found["label"][1], found["a"][1], rtol=1e-5)
    assert np.abs(found["label"][0] - found["a"][0]).max() > 1e-4


# The graph


def test_peers_have_weights_of_their_own_or_lower_layers_in_common():
    count = mm.build_mcnn({"x": IMAGE}, 3, width=8).count_params()
    own = build({"x": IMAGE}, peers=3)
    assert own.count_params() == 3 * count + 1  # the weight of the mutual term
    shared = build({"x": IMAGE}, peers=3, share_peers=True)
    assert shared.count_params() == count + 2 * (8 * 3 + 3) + 1
    assert [x.name for x in shared.layers if x.name.endswith("_backbone")] == ["x_backbone"]
    outputs = predict(shared, {"x": NOISE.uniform(0, 255, (4, 8, 8, 1))})
    assert np.abs(outputs["peer_1"] - outputs["peer_2"]).max() > 1e-4


def test_shared_lower_layers_learn_from_all_peers():
    """Their gradient is the sum over peers, so that training differs from either alone."""
    after = []
    for losses in (["peer_1"], ["peer_2"], ["peer_1", "peer_2"]):
        keras.utils.set_random_seed(3)
        model = build(ONE, peers=2, share_peers=True, mutual_weight=0.0)
        before = model.get_layer("x_projection").get_weights()[0]
        fit(
            model,
            {"x": X["a"]},
            losses={n: mm.losses.classification() for n in losses},
            steps=3,
            optimizer=keras.optimizers.SGD(0.01),
        )
        after.append(model.get_layer("x_projection").get_weights()[0] - before)
    np.testing.assert_allclose(after[0] + after[1], after[2], atol=1e-4)
    assert np.abs(after[0] - after[1]).max() > 1e-3


def test_students_of_modalities_may_share_a_backbone():
    model = build({"left": IMAGE, "right": IMAGE}, share_backbone=True)
    assert [x.name for x in model.layers if x.name.endswith("_backbone")] == ["left_right_backbone"]


def test_a_model_of_ones_own_is_the_backbone_of_peers_that_share_it():
    inputs = keras.Input((8, 8, 1))
    mine = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    model = build({"x": mm.Image((8, 8, 1), backbone=mine)}, peers=2, share_peers=True)
    assert model.get_layer("x_backbone").layers[-1] is mine.layers[-1]


@pytest.mark.parametrize("fusion", ["gated", "cross_attention", mm.layers.LowRankFusion(rank=2)])
def test_each_peer_fuses_with_weights_of_its_own(fusion):
    model = build(peers=2, share_peers=True, fusion=fusion, pooling="max")
    fusions = [model.get_layer(f"peer_{k}_fusion") for k in (1, 2)]
    assert type(fusions[0]) is type(fusions[1])
    pairs = zip(*(x.get_weights() for x in fusions), strict=True)
    assert any(np.abs(one - other).max() > 1e-3 for one, other in pairs)
    outputs = predict(model)
    assert np.abs(outputs["peer_1"] - outputs["peer_2"]).max() > 1e-4


def test_modality_dropout_is_the_same_for_all_peers():
    model = build(peers=2, modality_dropout=0.5, seed=0)
    assert sum(isinstance(layer, ModalityDropout) for layer in model.layers) == 1
    copy_student(model, "peer_1", model, "peer_2")
    whole = model(X, training=False)["peer_1"]
    dropped = model(X, training=True)
    assert np.abs(whole - dropped["peer_1"]).max() > 1e-3
    np.testing.assert_allclose(dropped["peer_1"], dropped["peer_2"], rtol=1e-5)


def test_options_reach_the_mutual_layer():
    model = build(mutual_weight=0.3, temperature=4.0, target="mean")
    layer = model.get_layer("label_mutual")
    assert (layer.weight, layer.temperature, layer.target) == (0.3, 4.0, "mean")
    assert float(layer.current_weight.numpy()) == pytest.approx(0.3)


HEADS = {"digit": 3, "tags": mm.MultiLabel(2, logits=True), "size": mm.Regression(1)}


def test_each_head_has_students_a_mutual_term_and_an_ensemble():
    model = build(num_classes=HEADS)
    students = [f"{name}_{head}" for name in "ab" for head in HEADS]
    assert sorted(model.output) == sorted([*students, *HEADS])
    kinds = {x.name: x.activation for x in model.layers if isinstance(x, MutualLearning)}
    assert kinds == {"digit_mutual": "softmax", "tags_mutual": "sigmoid", "size_mutual": "linear"}
    found = predict(model)
    mean = (found["a_digit"] + found["b_digit"]) / 2
    np.testing.assert_allclose(found["digit"], mean, rtol=1e-5)
    np.testing.assert_allclose(found["size"], (found["a_size"] + found["b_size"]) / 2, rtol=1e-5)
    chances = {key: 1 / (1 + np.exp(-found[key])) for key in ("tags", "a_tags", "b_tags")}
    np.testing.assert_allclose(
        chances["tags"], (chances["a_tags"] + chances["b_tags"]) / 2, rtol=1e-5
    )


def test_logits_give_the_same_ensemble_as_probabilities():
    model, logits = build(), build(num_classes=mm.Classification(3, logits=True))
    logits.set_weights(model.get_weights())
    softmax = keras.ops.convert_to_numpy(keras.ops.softmax(predict(logits)["label"]))
    np.testing.assert_allclose(softmax, predict(model)["label"], rtol=1e-5)


# What ships


@pytest.mark.parametrize("outputs", [["a"], ["b"], ["label"], ["label", "a"]])
def test_any_student_or_the_ensemble_ships(outputs):
    model = fit(build(OPTIONAL, hidden=(4,), dropout=0.2), presence(0.5))
    x = presence(0.5)
    expected = predict(model, x)
    shipped = mm.inference_model(model, outputs=outputs)
    needed = {"a": ["a"], "b": ["b", "b_present"]}.get(outputs[0], [*x])
    assert sorted(shipped.input) == sorted(needed)
    assert not any(isinstance(layer, MutualLearning) for layer in shipped.layers)
    found = shipped({name: x[name] for name in needed}, training=False)
    assert sorted(found) == sorted(outputs)
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    if outputs == ["a"]:
        assert all(layer.name.startswith("a") for layer in shipped.layers)


def test_saved_model_of_the_ensemble(tmp_path):
    model = build()
    mm.export(model, tmp_path / "served", format="saved_model", check=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(X)
    for name, expected in predict(model).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


# Errors


def own_backbone():
    inputs = keras.Input((8, 8, 1))
    return mm.Image((8, 8, 1), backbone=keras.Model(inputs, keras.layers.Flatten()(inputs)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        *(
            (lambda k=k: build(peers=k), ValueError, f"`peers` must be .* at least 2.*peers={k}")
            for k in (1, 0, -2)
        ),
        (lambda: build(peers=2.0), TypeError, "`peers` must be an integer.*peers=2.0"),
        (lambda: build(peers=True), TypeError, "`peers` must be an integer.*peers=True"),
        (
            lambda: build(ONE),
            ValueError,
            r"must be two or more.*Add a modality, or pass peers=2.*\['x'\]",
        ),
        *(
            (
                lambda a=a: build(**a),
                ValueError,
                f"`{next(iter(a))}` must be left out without `peers`.*peers=None",
            )
            for a in ({"share_peers": True}, {"fusion": "concat"}, {"modality_dropout": 0.1})
        ),
        (
            lambda: build({"x": own_backbone()}, peers=2),
            ValueError,
            r"`backbone` must be a name where every peer has.*share_peers=True.*\['x'\]",
        ),
        (lambda: build(temperature=0), ValueError, "`temperature` must be above 0.*temperature=0"),
        (lambda: build(temperature=-1), ValueError, "`temperature` must be .*temperature=-1"),
        (
            lambda: build(num_classes=mm.Regression(1), temperature=2.0),
            ValueError,
            "`temperature` must be 1 where the prediction is a number.*temperature=2.0",
        ),
        (lambda: build(mutual_weight=-0.5), ValueError, "`mutual_weight` must be at least 0.0"),
        (lambda: build(target="all"), ValueError, r"`target` must be one of \['peers', 'mean'\]"),
        (lambda: build(peers=2, fusion="con"), ValueError, "`fusion` must be one of .*'con'"),
        (lambda: build(pooling="sum"), ValueError, "one of .*'mean', 'max', 'attention'"),
        (lambda: build(width=0), ValueError, "`width` must be .*width=0"),
        (lambda: build(hidden=4), TypeError, "`hidden` must be a sequence of integers"),
        (lambda: build(dropout=1.0), ValueError, "`dropout` must be at least 0.0 and below 1.0"),
        (
            lambda: build(peers=2, modality_dropout=1),
            ValueError,
            "`modality_dropout` must be at least 0.0 and below 1.0",
        ),
        (
            lambda: build(num_classes={"peer_1": 2}, peers=2),
            ValueError,
            r"must not name a head as a modality.*\['peer_1'\]",
        ),
        (
            lambda: build(num_classes={"size": 2, "a_size": 2}),
            ValueError,
            r"must not name a head as a student's output is named.*\['a_size'\]",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
