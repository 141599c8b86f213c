"""Probabilities of models that compute in 8 bits: small ones stay what they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress import flatbuffer


def batches(inputs):
    return tf.data.Dataset.from_tensor_slices(inputs).batch(8)


def confident(head, calibrated, seed=0):
    """A model whose probabilities span many orders, and inputs."""
    keras.utils.set_random_seed(seed)
    numbers = keras.Input((6,), name="numbers")
    kernel = keras.initializers.RandomNormal(stddev=4.0)
    if head == "average":
        made = [keras.layers.Dense(4, "softmax", kernel_initializer=kernel) for _ in range(2)]
        label = keras.layers.Average(name="label")([layer(numbers) for layer in made])
    else:
        label = keras.layers.Dense(4, head, kernel_initializer=kernel, name="label")(numbers)
    if calibrated:
        scaling = mm.layers.TemperatureScaling(1.5, independent=head == "sigmoid", name="milder")
        label = scaling(label)
    inputs = {"numbers": np.random.default_rng(seed).normal(size=(64, 6)).astype("float32")}
    return keras.Model({"numbers": numbers}, {"label": label}), inputs


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("head", ["softmax", "sigmoid", "average"])
def test_small_probabilities_survive_int8(head, calibrated):
    model, inputs = confident(head, calibrated)
    small = mm.compress.quantize(model, representative=batches(inputs))
    expected, found = model.predict(inputs, verbose=0)["label"], small.predict(inputs)["label"]
    assert np.mean(expected < 1 / 512) > 0.05, "8 bits would make these 0"
    moderate = (expected > 1e-6) & (expected < 1 - 1e-5)
    assert np.abs(np.log(found / expected))[moderate].max() < 0.5
    if head != "sigmoid":
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    operators = flatbuffer.operators(flatbuffer.read(small.content))
    dense = {o.tensor.type for o in operators if o.kind == "FULLY_CONNECTED"}
    assert dense == {flatbuffer.schema.TensorType.INT8}
    pairs = [o.kind for o in operators if o.kind in ("QUANTIZE", "DEQUANTIZE")]
    assert len(pairs) == 1 + len([o for o in operators if o.kind == "FULLY_CONNECTED"])
    assert {entry.reason for entry in small.stayed_float} >= {
        "steps of 1/256 would make 0 of small probabilities"
    }


def test_an_empty_keep_float_rounds_probabilities_too():
    model, inputs = confident("softmax", calibrated=False)
    small = mm.compress.quantize(model, representative=batches(inputs), keep_float=[])
    assert small.stayed_float == ()
    found = 256 * small.predict(inputs)["label"]
    np.testing.assert_array_equal(found, np.round(found))


def test_the_softmax_of_attention_is_quantized():
    features = keras.Input((5, 8), name="features")
    scores = keras.layers.Dense(5, activation="softmax", name="scores")(features)
    mixed = keras.layers.GlobalAveragePooling1D()(keras.ops.matmul(scores, features))
    label = keras.layers.Dense(3, activation="softmax", name="label")(mixed)
    model = keras.Model({"features": features}, {"label": label})
    inputs = {"features": np.random.default_rng(0).normal(size=(32, 5, 8)).astype("float32")}
    small = mm.compress.quantize(model, representative=batches(inputs))
    assert [(entry.kind, entry.name) for entry in small.stayed_float] == [("SOFTMAX", "label")]
