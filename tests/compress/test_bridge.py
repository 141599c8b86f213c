"""Keras 3 graphs rebuilt in tf_keras, and back."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import mm_keras as mm
from mm_keras.compress import native
from mm_keras.compress.bridge import to_tf_keras
from mm_keras.compress.legacy import tf_keras, unchanged_keras
from mm_keras.compress.parity import difference
from tests.compress.graphs import GRAPHS, masks
from tests.compress.roundtrip import check_roundtrip
from tests.conformance.cases import VECTORS, floats


@pytest.mark.parametrize("name", GRAPHS)
def test_both_sides_agree_and_weights_come_back(name, monkeypatch):
    monkeypatch.setattr("mm_keras.compress.bridge.SMALL", np.inf)  # every layer by itself, too
    keras.utils.set_random_seed(0)
    check_roundtrip(GRAPHS[name]())


@pytest.mark.parametrize("fusion", sorted(mm.layers.FUSIONS))
def test_every_fusion_layer(fusion):
    check_roundtrip(mm.build_mcnn(VECTORS, 3, fusion=fusion, width=8))


def kinds(bridge):
    return {name: bridged.kind for name, bridged in bridge.layers.items()}


def test_what_tf_keras_has_is_rebuilt_and_the_rest_is_carried():
    bridge = to_tf_keras(GRAPHS["activations"]())
    made = kinds(bridge)
    dense = tf_keras().layers.Dense
    for name in ("hard_silu", "hard_sigmoid", "leaky_relu", "gelu", "mish", "silu"):
        assert made[name] == "native"
        assert isinstance(bridge.model.get_layer(name), dense)
    # Where the function has another meaning, or none, it follows as a layer of its own.
    followed = {name for name, kind in made.items() if kind == "operation"}
    assert followed >= {f"{n}_activation" for n in ("hard_silu", "hard_sigmoid", "mish")}
    assert not {"gelu_activation", "silu_activation"} & followed

    made = kinds(to_tf_keras(masks("recurrent")))
    assert made["embedding"] == made["dense"] == "native"
    assert made["lstm"] == made["gru"] == "carried"
    bridge = to_tf_keras(GRAPHS["plain"](), carry=["conv"])
    assert kinds(bridge)["conv"] == "carried"
    assert kinds(bridge)["depthwise"] == "native"
    assert kinds(to_tf_keras(GRAPHS["half"]()))["half"] == "carried"


def test_nested_models_are_inlined_and_layers_stay_shared():
    model = GRAPHS["nested"]()
    bridge = to_tf_keras(model)
    assert not any(isinstance(layer, tf_keras().Model) for layer in bridge.model.layers)
    paths = {bridged.path: name for name, bridged in bridge.layers.items()}
    assert {"outer/inner/norm", "outer/norm", "same"} <= set(paths)
    assert len(bridge.model.get_layer(paths["outer/inner/norm"]).inbound_nodes) == 4
    assert len(bridge.model.trainable_weights) == len(model.trainable_weights)
    assert set(bridge.model.input) == {"first", "second"}
    assert set(bridge.model.output) == {"label"}


def test_frozen_layers_stay_frozen():
    model = GRAPHS["frozen"]()
    model.get_layer("backbone").trainable = False
    bridge = to_tf_keras(model)
    names = {w.name.split("/")[0] for w in bridge.model.trainable_weights}
    assert names == {"head"}
    returned = bridge.to_keras()
    assert [w.path for w in returned.trainable_weights] == ["head/kernel", "head/bias"]


def test_masks_matter_on_both_sides():
    model = masks("recurrent")
    bridge = to_tf_keras(model)
    ids = np.array([[1, 2, 0, 0, 0, 0, 0], [1, 2, 1, 1, 1, 1, 1]], "int32")
    table = model.get_layer("embedding").embeddings
    before = bridge.model(ids).numpy()
    row = np.zeros_like(table)
    row[0] = 9.0  # padding's own row
    bridge.model.get_layer("embedding").embeddings.assign_add(row)
    np.testing.assert_array_equal(bridge.model(ids), before)


def test_training_is_the_same_on_both_sides():
    """Regularizers, an added loss, dropout's absence and an output without loss included."""

    def build():
        keras.utils.set_random_seed(1)
        inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((4,), name="b")}
        dense = layers.Dense(5, "relu", kernel_regularizer="l2", name="dense")
        a, b = dense(inputs["a"]), layers.Dense(5, "silu", name="other")(inputs["b"])
        gated = mm.layers.GatedFusion(name="fusion")({"a": a[:, None], "b": b[:, None]})
        cell = layers.LSTM(5, kernel_regularizer="l2", name="lstm")(ops.stack([a, b, a], axis=1))
        learnt = mm.layers.MutualLearning(name="mutual")(
            {"x": layers.Dense(3, name="x")(gated), "y": layers.Dense(3, name="y")(cell)}
        )
        return keras.Model(inputs, {k: layers.Softmax()(v) for k, v in learnt.items()})

    model = build()
    bridge = to_tf_keras(build())
    batch = {"a": tf.constant(floats(8, 6)), "b": tf.constant(floats(8, 4, seed=1))}
    for _ in range(3):
        steps = []
        for side in (model, bridge.model):
            with tf.GradientTape() as tape:
                outputs = side(batch, training=True)
                loss = tf.reduce_mean(outputs["x"][:, 0]) + tf.add_n(side.losses)
            weights = [w if isinstance(w, tf.Variable) else w.value for w in side.trainable_weights]
            steps.append(float(loss))
            for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
                weight.assign_sub(0.1 * gradient)
        assert steps[0] == pytest.approx(steps[1], rel=1e-5)
    assert difference(model(batch), bridge.to_keras()(batch)) < 1e-5


def subclassed():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    return Own(name="own")


def with_lambda(nested=False):
    inputs = keras.Input((3,))
    x = layers.Lambda(lambda x: 2 * x, name="twice")(inputs)
    model = keras.Model(inputs, x, name="inner")
    if nested:
        outer = keras.Input((3,))
        model = keras.Model(outer, model(outer))
    return model


def with_subclassed():
    inputs = keras.Input((3,))
    return keras.Model(inputs, subclassed()(inputs))


class Unfriendly(layers.Layer):
    """Cannot run in a graph."""

    def call(self, inputs):
        return inputs * float(np.sum(inputs))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


def unfriendly():
    inputs = keras.Input((3,))
    return keras.Model(inputs, Unfriendly(name="mine")(inputs))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: "model", TypeError, "`model` must be a functional keras.Model"),
        (subclassed, ValueError, "'own', which is a subclassed model"),
        (with_subclassed, ValueError, "'own', which is a subclassed model"),
        (with_lambda, ValueError, "no Lambda layers.*Received: the layer 'twice'"),
        (lambda: with_lambda(nested=True), ValueError, "the layer 'inner/twice'"),
        (
            lambda: keras.Sequential([layers.Dense(2)], name="s"),
            ValueError,
            "'s', which is unbuilt",
        ),
        (unfriendly, ValueError, r"the layer 'mine' \(Unfriendly\), which cannot be carried"),
    ],
)
def test_models_that_cannot_pass_raise(model, error, message):
    with pytest.raises(error, match=message):
        to_tf_keras(model())


def test_bad_arguments_raise():
    model = GRAPHS["shared"]()
    with pytest.raises(ValueError, match=r"`carry` must have names.*unknown names: \['nobody'\]"):
        to_tf_keras(model, carry=["nobody"])
    with pytest.raises(TypeError, match="`carry` must be a sequence of names"):
        to_tf_keras(model, carry="dense")
    with pytest.raises(ValueError, match="`tolerance` must be above 0"):
        to_tf_keras(model, tolerance=0)
    bridge, inputs = to_tf_keras(model), tf_keras().Input((6,))
    other = tf_keras().Model(inputs, inputs)
    with pytest.raises(ValueError, match=r"without wrappers. Received a model without \['dense'\]"):
        bridge.to_keras(other)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_layer_that_differs_is_named(monkeypatch, scale):
    """Keras 3 and tf_keras have different functions of that name; outputs may be large or tiny."""
    monkeypatch.setattr(native, "ACTIVATIONS", (*native.ACTIVATIONS, "hard_sigmoid"))
    inputs = keras.Input((4,))
    x = layers.Dense(4, activation="tanh", name="before")(inputs)
    x = layers.Dense(4, activation="hard_sigmoid", name="differs")(x)
    model = keras.Model(inputs, scale * layers.Dense(4, name="after")(x))
    message = r"the layer 'differs', whose tf_keras counterpart.*Pass carry=\['differs'\]"
    with pytest.raises(ValueError, match=message):
        to_tf_keras(model)
    assert to_tf_keras(model, carry=["differs"]).difference < 1e-5


PROCESS = """
import os, sys
value = sys.argv[1]
if value != "unset":
    os.environ["TF_USE_LEGACY_KERAS"] = value
import keras
from mm_keras.compress.bridge import to_tf_keras
inputs = keras.Input((3,))
for layer, fails in ((keras.layers.Dense(2), False), (keras.layers.Lambda(abs), True)):
    try:
        to_tf_keras(keras.Model(inputs, layer(inputs)))
    except ValueError:
        assert fails
    else:
        assert not fails
    assert os.environ.get("TF_USE_LEGACY_KERAS", "unset") == value
import tensorflow as tf
import tf_keras
assert (tf.keras.layers.Layer is tf_keras.layers.Layer) == (value == "1")
assert (tf.keras.layers.Layer is keras.layers.Layer) == (value == "unset")
print("kept")
"""


@pytest.mark.slow
@pytest.mark.parametrize("value", ["unset", "1"])
def test_the_process_keeps_its_keras(value):
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, value], capture_output=True, text=True, env=environment
    )
    assert done.stdout.splitlines()[-1:] == ["kept"], done.stderr


def test_the_environment_is_restored_after_an_error(monkeypatch):
    def fail():
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        raise KeyError

    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    with pytest.raises(KeyError), unchanged_keras():
        fail()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "0"
