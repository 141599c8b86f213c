"""The identity whose gradient is reversed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_keras import layers
from tests.conformance.cases import floats


def gradient(layer, x, weight):
    """The gradient of `Σ weight · layer(x)`."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(weight * layer(x))
    return tape.gradient(total, x)


COMPILED = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


@pytest.mark.parametrize("how", COMPILED)
def test_gradient_is_reversed_also_after_the_factor_changed(how):
    layer = layers.GradientReversal(0.5)
    x, weight = floats(4, 3), floats(4, 3, seed=1)
    layer.build(x.shape)
    run = COMPILED[how](lambda t: gradient(layer, t, weight))
    for factor in (0.5, 0.0, 2.0):
        layer.current_factor.assign(factor)
        np.testing.assert_allclose(run(x), -factor * weight, rtol=1e-6)


@pytest.mark.parametrize("how", COMPILED)
def test_output_has_the_same_bits(how):
    x = np.array([[0.1, -0.0, 1e-45], [np.inf, -np.inf, np.nan]], "float32")
    output = COMPILED[how](layers.GradientReversal(3.0))(tf.constant(x))
    assert np.asarray(output).tobytes() == x.tobytes()


def test_factor_is_a_weight_that_does_not_train():
    layer = layers.GradientReversal(0.25)
    layer.build((None, 2))
    assert not layer.trainable_weights
    assert [w.numpy() for w in layer.non_trainable_weights] == [0.25]


def test_gradient_in_float16_is_that_of_float32():
    x, weight = floats(4, 3), floats(4, 3, seed=1)
    layer = layers.GradientReversal(0.3, dtype="mixed_float16")
    found = gradient(layer, tf.cast(x, "float16"), tf.cast(weight, "float16"))
    assert found.dtype == "float16"
    np.testing.assert_allclose(found, -0.3 * weight, rtol=2e-3)


def test_one_descent_trains_both_sides_of_a_game():
    """Twice through the same dense layer: its own gradient as it is, that before it reversed."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    first = keras.layers.Dense(2, name="features")
    second = keras.layers.Dense(1, name="discriminator")
    reversed_ = keras.Model(inputs, second(layers.GradientReversal(2.0)(first(inputs))))
    plain = keras.Model(inputs, second(first(inputs)))
    x = floats(4, 3)
    found = []
    for model in (plain, reversed_):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x) - 1.0))
        weights = [first.kernel.value, second.kernel.value]
        found.append(tape.gradient(loss, weights))
    np.testing.assert_allclose(found[1][0], -2 * found[0][0], rtol=1e-5)
    np.testing.assert_array_equal(found[1][1], found[0][1])


@pytest.mark.parametrize(
    ("factor", "error", "message"),
    [
        (-0.1, ValueError, r"`factor` must be at least 0.0. Received: factor=-0.1"),
        ("1", TypeError, "`factor` must be a number"),
    ],
)
def test_errors(factor, error, message):
    with pytest.raises(error, match=message):
        layers.GradientReversal(factor)
