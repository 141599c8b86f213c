"""The two losses of ADDA."""

import numpy as np
import pytest
import tensorflow as tf

from mm_keras import layers
from tests.conformance.cases import floats

SOURCE, TARGET = floats(4, 3), floats(6, 3, seed=1) + 1.0


def scores(layer, x):
    weights = layer.get_weights()
    half = len(weights) // 2
    kernels = [w for w in weights if w.ndim == 2]
    biases = [w for w in weights if w.ndim == 1]
    for number in range(half):
        x = x @ kernels[number] + biases[number]
        if number < half - 1:
            x = np.maximum(x, 0)
    return x


def bce(x, label):
    p = 1 / (1 + np.exp(-x))
    return -np.mean(np.log(p if label else 1 - p))


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_loss(hidden):
    layer = layers.AdversarialAlignment(hidden, rate=0.3)
    output = layer(TARGET, source=SOURCE, training=True)
    np.testing.assert_array_equal(output, TARGET)
    s, t = scores(layer, SOURCE), scores(layer, TARGET)
    expected = bce(s, 1) + bce(t, 0) + 0.3 * bce(t, 1)
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-5)


def test_a_discriminator_that_knows_nothing_loses_ln_2_each_time():
    layer = layers.AdversarialAlignment(rate=1.0)
    layer.build(TARGET.shape, SOURCE.shape)
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    layer(TARGET, source=SOURCE, training=True)
    np.testing.assert_allclose(layer.losses[0], 3 * np.log(2), rtol=1e-6)


def test_each_side_gets_the_gradient_of_its_own_loss():
    layer = layers.AdversarialAlignment((5,), rate=0.3)
    s, t = tf.constant(SOURCE), tf.constant(TARGET)
    layer.build(t.shape, s.shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([s, t])
        layer(t, source=s, training=True)
        total = layer.losses[0]
        apart = tf.reduce_mean(tf.nn.softplus(-layer.scores(s)))
        apart += tf.reduce_mean(tf.nn.softplus(layer.scores(t)))
        fooled = tf.reduce_mean(tf.nn.softplus(-layer.scores(t)))
    weights = [w.value for w in layer.trainable_weights]
    found, expected = tape.gradient(total, weights), tape.gradient(apart, weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        tape.gradient(total, t), 0.3 * tape.gradient(fooled, t), rtol=1e-5, atol=1e-8
    )
    none = tape.gradient(total, s)
    assert none is None or not np.any(none)


def test_it_is_the_identity_without_a_loss_at_inference():
    layer = layers.AdversarialAlignment()
    np.testing.assert_array_equal(layer(TARGET, source=SOURCE), TARGET)
    assert layer.losses == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layers.AdversarialAlignment(3), TypeError, "`hidden` must be a sequence"),
        (lambda: layers.AdversarialAlignment(rate=-1), ValueError, "`rate` must be at least 0"),
        (
            lambda: layers.AdversarialAlignment()(TARGET, source=floats(4, 2)),
            ValueError,
            r"must be \(B, D\) of one width. Received shapes: \(6, 3\) and \(4, 2\)",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
