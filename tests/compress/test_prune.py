"""Pruning."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import mm_keras as mm
from mm_keras.compress.branches import branch_layers
from mm_keras.compress.prune import SCHEDULES
from mm_keras.compress.weights import compressible
from tests.compress.trained import (
    BAD_TRAINING,
    STILL,
    check_errors,
    require_unchanged,
    vectors_data,
    vectors_model,
    weights_of,
)


def kernels_of(model):
    return {v.path: v.numpy() for layer in model.layers for v in compressible(layer)}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_smallest_weights_become_zero_and_the_others_stay(schedule):
    model = vectors_model("cross_attention")
    before = weights_of(model)
    pruned = mm.compress.prune(
        model, vectors_data(), 0.75, schedule=schedule, compile=STILL, verbose=0
    )
    require_unchanged(model, before)
    found = kernels_of(pruned)
    assert len(found) == 2 + 8 + 2  # projections, attentions, hidden and logits
    for path, old in kernels_of(model).items():
        kept = round(0.25 * old.size)
        threshold = np.sort(np.abs(old).ravel())[-kept]
        np.testing.assert_array_equal(found[path], np.where(np.abs(old) >= threshold, old, 0))
    others = [v for v in pruned.weights if v.path not in found]
    assert others
    for new, old in zip(others, (v for v in model.weights if v.path not in found), strict=True):
        np.testing.assert_array_equal(new, old)


def grouped(kernel, group):
    """The kernel with its input channels last, in groups."""
    return np.moveaxis(kernel, -2, -1).reshape(-1, group)


def convolutions():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, name="first")(inputs)  # 3 input channels: no group of 4
    x = layers.DepthwiseConv2D(3, name="depthwise")(layers.Conv2D(4, 3, name="second")(x))
    x = layers.Dense(4, name="dense")(layers.Flatten()(x))
    model = keras.Model({"image": inputs}, {"label": x})
    model.compile(loss="mse", jit_compile=False)
    images, labels = np.ones((8, 8, 8, 3), "float32"), np.ones((8, 4), "float32")
    data = tf.data.Dataset.from_tensor_slices(({"image": images}, {"label": labels}))
    return model, data.batch(4)


def test_two_of_four():
    model, data = convolutions()
    pruned = mm.compress.prune(model, data, pattern="2:4", compile=STILL, verbose=0)
    shares = mm.compress.sparsity(pruned).layers
    assert shares == {"first": 0, "second": 0.5, "dense": 0.5}
    for name in ("second", "dense"):
        old = grouped(model.get_layer(name).kernel.numpy(), 4)
        new = grouped(pruned.get_layer(name).kernel.numpy(), 4)
        least = np.argsort(np.abs(old), axis=1)[:, :2]
        expected = old.copy()
        np.put_along_axis(expected, least, 0, axis=1)
        np.testing.assert_array_equal(new, expected)
    one_of_four = mm.compress.prune(model, data, 0.25, pattern="1:4", epochs=1, verbose=0)
    new = grouped(one_of_four.get_layer("second").kernel.numpy(), 4)
    assert ((new == 0).sum(axis=1) >= 1).all()


def test_blocks():
    model, data = convolutions()
    pruned = mm.compress.prune(model, data, 0.5, pattern=(4, 2), compile=STILL, verbose=0)
    assert mm.compress.sparsity(pruned).layers == {"first": 0, "second": 0, "dense": 0.5}
    kernel = model.get_layer("dense").kernel.numpy()
    new = pruned.get_layer("dense").kernel.numpy()
    blocks = np.abs(kernel).reshape(-1, 4, 2, 2).mean(axis=(1, 3))
    kept = blocks >= np.sort(blocks.ravel())[-blocks.size // 2]
    np.testing.assert_array_equal(new, kernel * np.kron(kept, np.ones((4, 2))))


class Recorder(keras.callbacks.Callback):
    """Keeps the share of zeros that a callback sees after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(mm.compress.sparsity(self.model).overall)


def test_the_schedule_is_followed_and_reaches_its_end_early():
    recorder = Recorder()
    mm.compress.prune(
        vectors_model(), vectors_data(), 0.8, initial_sparsity=0.2, epochs=4, verbose=0,
        callbacks=[recorder],
    )  # fmt: skip
    steps = np.arange(1, 17)
    expected = 0.8 - 0.6 * (1 - np.minimum(steps / 12, 1)) ** 3  # Zhu and Gupta
    np.testing.assert_allclose(recorder.seen, expected, atol=0.01)
    recorder = Recorder()
    mm.compress.prune(
        vectors_model(), vectors_data(), schedule="constant", verbose=0, callbacks=[recorder]
    )
    np.testing.assert_allclose(recorder.seen, 0.5, atol=0.01)


@pytest.mark.slow
def test_each_branch_has_its_share():
    model = vectors_model("gated", auxiliary_heads=True, modality_dropout=0.3)
    names = ["label", "left_label", "right_label"]
    model.compile("adam", dict.fromkeys(names, mm.losses.classification()), jit_compile=False)
    pruned = mm.compress.prune(model, vectors_data(names), {"left": 0.75, "right": 0.25}, verbose=0)
    shares = mm.compress.sparsity(pruned).layers
    assert {name for name, share in shares.items() if share} == {
        "left_projection",
        "right_projection",
    }
    assert shares["left_projection"] == pytest.approx(0.75, abs=0.01)
    assert shares["right_projection"] == pytest.approx(0.25, abs=0.01)
    only = mm.compress.prune(model, vectors_data(names), {"left": 0.5}, epochs=1, verbose=0)
    shares = mm.compress.sparsity(only).layers
    assert [name for name, share in shares.items() if share] == ["left_projection"]


def test_branches_of_a_model_made_by_hand():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    tower, own = layers.Dense(4, name="tower"), layers.Dense(4, name="own")
    inner = keras.Input((4,))
    nested = keras.Model(inner, layers.Dense(4, name="inside")(inner), name="nested")
    a, b = nested(own(tower(left))), tower(right)
    x = layers.Dense(2, name="after")(layers.Concatenate(name="join")([a, b]))
    model = keras.Model([left, right], x)
    branches = branch_layers(model)
    ids = {layer.name: id(layer) for layer in (*model.layers, *nested.layers)}
    assert branches["left"] == {ids["tower"], ids["own"], ids["inside"]}
    assert branches["right"] == {ids["tower"]}
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors(((np.ones((2, 4)), np.ones((2, 4))), np.ones((2, 2))))
    with pytest.raises(ValueError, match=r"the same for modalities that share a layer.*'tower'"):
        mm.compress.prune(model, data, {"left": 0.5, "right": 0.6}, verbose=0)
    pruned = mm.compress.prune(model, data, {"left": 0.5, "right": 0.5}, verbose=0)
    shares = mm.compress.sparsity(pruned).layers
    assert shares == {"tower": 0.5, "own": 0.5, "nested/inside": 0.5, "after": 0}


def test_some_layers():
    model = vectors_model()
    by_name = mm.compress.prune(
        model, vectors_data(), layers=["left_projection", "label_logits"], verbose=0
    )
    by_width = mm.compress.prune(
        model, vectors_data(), layers=lambda layer: layer.units == 20, verbose=0
    )
    pruned = {name for name, s in mm.compress.sparsity(by_name).layers.items() if s}
    assert pruned == {"left_projection", "label_logits"}
    shares = mm.compress.sparsity(by_width).layers
    assert sum(share == 0.5 for share in shares.values()) == 1


@pytest.mark.slow
def test_the_training_is_the_users_own():
    """Losses by output, added losses, sample weights, callbacks and validation, as in Keras."""
    keras.utils.set_random_seed(0)
    model = mm.build_dml({"left": mm.Features((3, 8)), "right": mm.Features(12)}, 4, width=16)
    model.compile(
        keras.optimizers.Adam(0.01),
        mm.training.student_losses(model),
        metrics={"label": "accuracy"},
        jit_compile=False,
    )
    names = list(model.output)
    data = vectors_data(names).map(
        lambda x, y: (
            {"left": x["left"], "right": x["right"]},
            y,
            dict.fromkeys(names, tf.ones(tf.shape(x["right"])[0])),
        )
    )
    ramp, history = mm.training.MutualRampUp(warmup=1, rampup=1), keras.callbacks.History()
    pruned = mm.compress.prune(
        model,
        data,
        0.5,
        epochs=4,
        schedule="constant",
        validation_data=data,
        callbacks=[ramp, history],
        verbose=0,
    )
    losses = history.history
    assert {"loss", "label_accuracy", "val_loss", "val_label_accuracy"} <= set(losses)
    students = sum(losses[f"{name}_loss"][0] for name in ("left", "right"))
    assert losses["loss"][0] == pytest.approx(students, rel=1e-3)  # warming up
    assert losses["loss"][-1] > sum(losses[f"{name}_loss"][-1] for name in ("left", "right")) + 1e-4
    assert losses["val_loss"][-1] < losses["val_loss"][0]
    assert pruned.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(
        losses["val_loss"][-1], rel=1e-4
    )


def test_samples_without_weight_teach_nothing():
    model = vectors_model()
    data = vectors_data().map(lambda x, y: (x, y, tf.zeros(tf.shape(y))))
    still = mm.compress.prune(model, data, 0.5, compile={"optimizer": "sgd"}, verbose=0)
    for new, old in zip(still.trainable_weights, model.trainable_weights, strict=True):
        changed = new.numpy() != old.numpy()
        assert not new.numpy()[changed].any()


def test_frozen_layers_are_pruned_too():
    model = vectors_model()
    model.get_layer("left_projection").trainable = False
    pruned = mm.compress.prune(model, vectors_data(), 0.5, verbose=0)
    old = model.get_layer("left_projection").kernel.numpy()
    new = pruned.get_layer("left_projection").kernel.numpy()
    assert (new == 0).mean() == 0.5
    np.testing.assert_array_equal(new[new != 0], old[new != 0])


def test_a_callback_that_takes_zeros_away_is_found_out():
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
    with pytest.raises(RuntimeError, match=r"zeros, not 90.* callback that restores weights"):
        mm.compress.prune(
            vectors_model(), vectors_data(), 0.9, epochs=4, callbacks=[stop], verbose=0
        )


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        *BAD_TRAINING,
        ({"sparsity": 1.0}, ValueError, "`sparsity` must be at least 0.0 and below 1.0"),
        ({"sparsity": {}}, ValueError, "`sparsity` must name at least one modality"),
        ({"sparsity": {"left": -1}}, ValueError, r"`sparsity\['left'\]` must be at least 0.0"),
        ({"sparsity": {"middle": 0.5}}, ValueError, "`sparsity` must be one of"),
        (
            {"sparsity": {"left": 0.5}, "layers": ["label_logits"]},
            ValueError,
            "`layers`, `sparsity` and `pattern` must leave|must name modalities with layers",
        ),
        ({"schedule": "cosine"}, ValueError, "`schedule` must be one of"),
        ({"initial_sparsity": 0.6}, ValueError, "`initial_sparsity` must be at most `sparsity`"),
        ({"pattern": "4:2"}, ValueError, "`pattern` must be None, 'm:n'"),
        ({"pattern": (4, 0)}, ValueError, "`pattern` must be an integer of at least 1"),
        ({"pattern": "2:4", "sparsity": 0.8}, ValueError, "`sparsity` must be left out, or 0.5"),
        ({"pattern": "2:7"}, ValueError, "must leave some kernel to prune"),
        (
            {"pattern": "2:5", "layers": ["label_logits", "left_projection"]},
            ValueError,
            "`layers` must name layers whose kernels fit the pattern. Received: 'left_projection'",
        ),
    ],
)
def test_bad_arguments_raise(case, error, message):
    check_errors(mm.compress.prune, case, error, message)


def test_models_that_cannot_be_trained_raise():
    model = mm.build_mcnn({"a": mm.Features(4)}, 2)
    data = tf.data.Dataset.from_tensors(({"a": np.ones((2, 4))}, np.ones(2)))
    with pytest.raises(ValueError, match="must hold optimizer and loss, or `model` must be comp"):
        mm.compress.prune(model, data)
    model.compile("sgd", lambda y_true, y_pred: y_pred)
    with (
        pytest.warns(UserWarning, match="lambda"),
        pytest.raises(ValueError, match="`compile` must hold optimizer, loss and metrics, since"),
    ):
        mm.compress.prune(model, data)
    with pytest.raises(TypeError, match=r"`model` must be a functional keras\.Model"):
        mm.compress.prune("model", data)


def test_sparsity_counts_each_kernel_once():
    inputs = keras.Input((4, 8), dtype="int32", name="ids")
    embedding = layers.Embedding(10, 4, name="embedding")
    each = layers.TimeDistributed(layers.Dense(6, name="dense"), name="each")
    x = each(layers.Reshape((8, 16))(embedding(inputs)))
    model = keras.Model(inputs, layers.LSTM(3, name="lstm")(x))
    embedding.embeddings.assign(np.eye(10, 4))
    each.layer.kernel.assign(np.zeros((16, 6)))
    found = mm.compress.sparsity(model)
    assert found.layers == {"embedding": 0.9, "each": 1.0, "lstm": 0.0}
    sizes = {"embedding": 40, "each": 96, "lstm": 6 * 12 + 3 * 12}
    expected = sum(sizes[name] * share for name, share in found.layers.items())
    assert found.overall == pytest.approx(expected / sum(sizes.values()))
    assert mm.compress.unique_weights(model)["embedding/embeddings"] == 2
    bare = keras.Model(inputs, layers.Flatten()(inputs))
    with pytest.raises(ValueError, match="`model` must have kernels or embedding tables"):
        mm.compress.sparsity(bare)
