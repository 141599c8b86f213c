"""Weights of samples in a discriminator's gradient."""

import numpy as np
import tensorflow as tf

from mm_keras import layers, losses
from tests.conformance.cases import POSITIONS, floats

PREDICTIONS = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3, [0.2, 0.1, 0.7]], "float32")


def oracle(predictions, present=None):
    present = np.ones(len(predictions)) if present is None else present
    entropy = np.array([-sum(p * np.log(p) for p in row if p > 0) for row in predictions])
    weights = (1 + np.exp(-entropy)) * present
    return weights / weights.sum() * present.sum()


def test_weights():
    layer = layers.DomainWeighting()
    np.testing.assert_allclose(layer.weights_of(PREDICTIONS), oracle(PREDICTIONS), rtol=1e-5)
    present = POSITIONS.any(axis=1)
    np.testing.assert_allclose(
        layer.weights_of(PREDICTIONS, POSITIONS), oracle(PREDICTIONS, present), rtol=1e-5
    )
    np.testing.assert_array_equal(layer.weights_of(mask=POSITIONS), present)
    nobody = np.zeros((4, 1), "bool")
    np.testing.assert_array_equal(layer.weights_of(PREDICTIONS, nobody), np.zeros(4))


def test_predictions_side_by_side_have_the_sum_of_their_entropies():
    both = np.concatenate([PREDICTIONS, PREDICTIONS], axis=1)
    entropy = np.array([-sum(p * np.log(p) for p in row if p > 0) for row in PREDICTIONS])
    weights = 1 + np.exp(-2 * entropy)
    found = layers.DomainWeighting().weights_of(both)
    np.testing.assert_allclose(found, weights / weights.mean(), rtol=1e-5)


def test_is_the_same_as_weighing_the_loss_of_each_sample():
    domains, loss = np.array([0, 1, 1, 0]), losses.classification(from_logits=True)
    features = tf.constant(floats(4, 5))
    kernel = tf.Variable(floats(5, 2))
    layer = layers.DomainWeighting()

    def gradients(weights, weigh):
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = loss(domains, weigh(features @ kernel), sample_weight=weights)
        return tape.gradient(value, [kernel, features])

    found = gradients(None, lambda x: layer(x, predictions=PREDICTIONS))
    expected = gradients(oracle(PREDICTIONS), lambda x: x)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_passes_its_input_and_no_gradient_to_predictions():
    x, p = tf.constant(floats(4, 3)), tf.constant(PREDICTIONS)
    layer = layers.DomainWeighting()
    np.testing.assert_array_equal(layer(x), x)
    with tf.GradientTape() as tape:
        tape.watch([x, p])
        y = layer(x, predictions=p, mask=POSITIONS)
    np.testing.assert_array_equal(y, x)
    found, none = tape.gradient(y, [x, p])
    assert none is None or not np.any(none)
    assert not np.any(found[3])  # nothing there
    assert np.all(found[:3] != 0)
