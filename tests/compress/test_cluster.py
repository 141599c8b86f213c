"""Clustering, alone and after pruning."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import mm_keras as mm
from mm_keras.compress.cluster import CENTROIDS
from tests.compress.trained import (
    BAD_TRAINING,
    STILL,
    check_errors,
    require_unchanged,
    vectors_data,
    vectors_model,
    weights_of,
)


def test_values_are_near_the_weights_and_those_within_layers_count_too():
    """Of the attention within a fusion layer."""
    model = vectors_model("cross_attention")
    before = weights_of(model)
    clustered = mm.compress.cluster(model, vectors_data(), 8, compile=STILL, verbose=0)
    require_unchanged(model, before)
    values = mm.compress.unique_weights(clustered)
    assert len(values) == 2 + 8 + 2  # projections, attentions, hidden and logits
    assert set(values.values()) == {8}
    assert min(mm.compress.unique_weights(model).values()) > 60
    for new, old in zip(clustered.weights, model.weights, strict=True):
        if "kernel" in old.path:
            assert np.corrcoef(new.numpy().ravel(), old.numpy().ravel())[0, 1] > 0.95
        else:
            np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("centroids", sorted(set(CENTROIDS) - {"kmeans++"}))
def test_each_weight_gets_the_nearest_value(centroids):
    model = vectors_model()
    clustered = mm.compress.cluster(
        model, vectors_data(), 8, centroids=centroids, compile=STILL, verbose=0
    )
    assert max(mm.compress.unique_weights(clustered).values()) <= 8
    kernel = model.get_layer("left_projection").kernel.numpy().ravel()
    new = clustered.get_layer("left_projection").kernel.numpy().ravel()
    found = np.unique(new)
    nearest = found[np.abs(kernel[:, None] - found).argmin(axis=1)]
    np.testing.assert_allclose(new, nearest, atol=1e-6)
    if centroids == "linear":
        grid = np.linspace(kernel.min(), kernel.max(), 8)
        np.testing.assert_allclose(found, grid, atol=1e-6)


def test_centroids_are_trained():
    model = vectors_model()
    still = mm.compress.cluster(
        model, vectors_data(), 4, centroids="linear", compile=STILL, verbose=0
    )
    moved = mm.compress.cluster(model, vectors_data(), 4, centroids="linear", epochs=4, verbose=0)
    loss = [m.evaluate(vectors_data(), verbose=0, return_dict=True)["loss"] for m in (still, moved)]
    assert loss[1] < loss[0] - 0.05
    assert max(mm.compress.unique_weights(moved).values()) <= 4


@pytest.mark.slow
def test_zeros_stay_after_pruning():
    pruned = mm.compress.prune(vectors_model("gated"), vectors_data(), {"left": 0.75}, verbose=0)
    kept = mm.compress.cluster(pruned, vectors_data(), 6, epochs=3, verbose=0)
    zeros = pruned.get_layer("left_projection").kernel.numpy() == 0
    new = kept.get_layer("left_projection").kernel.numpy()
    assert zeros.mean() == 0.75
    assert not new[zeros].any()
    assert len(np.unique(new)) <= 6
    # Kernels that were not pruned don't lose a value to zero.
    shares = mm.compress.sparsity(kept).layers
    assert {name for name, share in shares.items() if share > 0.05} == {"left_projection"}
    lost = mm.compress.cluster(
        pruned, vectors_data(), 6, epochs=3, preserve_sparsity=False, verbose=0
    )
    assert mm.compress.sparsity(lost).layers["left_projection"] < 0.5


def convolutions():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, activation="relu", name="wide", trainable=False)(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(2, 1, use_bias=False, name="tiny")(x)
    x = layers.Dense(4, name="dense")(layers.Flatten()(x))
    model = keras.Model(inputs, x)
    model.compile("sgd", "mse", jit_compile=False)
    images, labels = np.ones((8, 8, 8, 3), "float32"), np.ones((8, 4), "float32")
    return model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)


def test_channels_of_their_own_and_kernels_that_are_left():
    model, data = convolutions()
    whole = mm.compress.cluster(model, data, 12, compile=STILL, verbose=0)
    assert mm.compress.unique_weights(whole) == {
        "wide/kernel": 12,
        "tiny/kernel": 12,  # of its own: it has no more
        "dense/kernel": 12,
    }
    np.testing.assert_array_equal(whole.get_layer("tiny").kernel, model.get_layer("tiny").kernel)
    assert not whole.get_layer("wide").trainable
    each = mm.compress.cluster(model, data, 5, per_channel=True, layers=["wide"], verbose=0)
    kernel = each.get_layer("wide").kernel.numpy()
    assert max(len(np.unique(kernel[..., channel])) for channel in range(6)) <= 5
    assert len(np.unique(kernel)) > 12
    np.testing.assert_array_equal(
        each.get_layer("dense").kernel.shape, model.get_layer("dense").kernel.shape
    )
    assert mm.compress.unique_weights(each)["dense/kernel"] > 12


@keras.saving.register_keras_serializable("tests")
class Counting(layers.Layer):
    """Has a kernel, counts its calls in training, and adds a loss then."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 8), name="kernel")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1.0)
            self.add_loss(7.0 * ops.ones(()))
        return ops.matmul(inputs, self.kernel)


class Watch(keras.callbacks.Callback):
    """Keeps what a callback sees."""

    def on_train_begin(self, logs=None):
        self.names = [layer.name for layer in self.model.layers]

    def on_epoch_end(self, epoch, logs=None):
        self.logs = logs


def test_carried_layers_train_as_in_keras(tmp_path):
    """Updates and losses of a clustered layer count; callbacks see and save the model."""
    inputs = keras.Input((6,), name="x")
    outputs = layers.Dense(3, name="y")(Counting(name="counting")(inputs))
    model = keras.Model({"x": inputs}, {"y": outputs})
    model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices(
        ({"x": np.ones((8, 6), "float32")}, {"y": np.ones((8, 3), "float32")})
    ).batch(4)
    watch = Watch()
    path = tmp_path / "last.keras"
    saved = keras.callbacks.ModelCheckpoint(path)
    result = mm.compress.cluster(
        model, data, 4, epochs=3, validation_data=data, callbacks=[watch, saved], verbose=0
    )
    assert mm.compress.unique_weights(result) == {"counting/kernel": 4, "y/kernel": 4}
    assert float(result.get_layer("counting").calls) == 6
    assert float(model.get_layer("counting").calls) == 0
    assert watch.logs["loss"] == pytest.approx(7 + watch.logs["val_loss"], rel=0.2)
    assert {"val_mae", "mae"} <= set(watch.logs)
    assert watch.names == ["x", "counting", "y"]
    loaded = keras.models.load_model(path)
    batch = {"x": np.ones((2, 6), "float32")}
    np.testing.assert_allclose(loaded(batch)["y"], result(batch)["y"], atol=1e-6)
    # Compiled as the model was.
    assert result.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(
        watch.logs["val_loss"], rel=1e-4
    )


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        *BAD_TRAINING,
        ({"number_of_clusters": 1}, ValueError, "`number_of_clusters` must be an integer of at l"),
        ({"number_of_clusters": 2.5}, TypeError, "`number_of_clusters` must be an integer"),
        ({"number_of_clusters": 999}, ValueError, "must be below the number of weights"),
        (
            {"number_of_clusters": 2, "preserve_sparsity": True},
            ValueError,
            "`number_of_clusters` must be at least 3",
        ),
        ({"centroids": "kmeans"}, ValueError, r"`centroids` must be.*Did you mean 'kmeans\+\+'"),
        ({"per_channel": 1}, TypeError, "`per_channel` must be a bool"),
        ({"preserve_sparsity": "yes"}, TypeError, "`preserve_sparsity` must be a bool"),
        (
            {"compile": {"optimizer": keras.optimizers.Adafactor()}},
            ValueError,
            "`optimizer` must not be Adafactor",
        ),
    ],
)
def test_bad_arguments_raise(case, error, message):
    check_errors(mm.compress.cluster, case, error, message)
