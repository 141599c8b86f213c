"""Sure of each sample of the target, and all classes in use."""

import numpy as np
import pytest
import tensorflow as tf

from mm_keras import losses

DOMAINS = np.array([0, 1, 1, 0, 1])
P = np.array([[0.9, 0.1, 0], [0.2, 0.5, 0.3], [1, 0, 0], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]])


def entropy(p):
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_mean_is_that_over_the_target(balance):
    target = P[DOMAINS == 1]
    expected = entropy(target).mean() - balance * entropy(target.mean(axis=0))
    loss = losses.InformationMaximization(balance=balance)
    np.testing.assert_allclose(loss(DOMAINS, P), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(DOMAINS[:, None], P), expected, rtol=1e-5)


def test_gradient_is_that_of_the_two_entropies():
    p = tf.constant(P + 0.01, "float32")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(p)
        value = losses.InformationMaximization(balance=0.7)(DOMAINS, p)
        target = tf.boolean_mask(p, DOMAINS == 1)
        mean = tf.reduce_mean(target, axis=0)
        expected = -tf.reduce_mean(tf.reduce_sum(target * tf.math.log(target), axis=1))
        expected += 0.7 * tf.reduce_sum(mean * tf.math.log(mean))
    np.testing.assert_allclose(
        tape.gradient(value, p), tape.gradient(expected, p), rtol=1e-4, atol=1e-6
    )


def test_sources_have_no_effect():
    loss = losses.InformationMaximization(target=2)
    domains = np.array([0, 2, 2, 1, 2])
    other = P.copy()
    other[[0, 3]] = 1 / 3
    np.testing.assert_array_equal(loss(domains, P), loss(domains, other))
    assert float(loss(np.zeros(5), P)) == 0.0  # no target at all


def test_bounds():
    loss = losses.InformationMaximization()
    ones = np.ones(3)
    np.testing.assert_allclose(loss(ones, np.eye(3)), -np.log(3), rtol=1e-5)
    np.testing.assert_allclose(loss(ones, np.full((3, 3), 1 / 3)), 0.0, atol=1e-6)
    np.testing.assert_allclose(loss(ones, np.eye(3)[[0, 0, 0]]), 0.0, atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="`target` must be an integer of at least 0"):
        losses.InformationMaximization(target=-1)
    with pytest.raises(ValueError, match="`balance` must be at least 0"):
        losses.InformationMaximization(balance=-1)
    with pytest.raises(ValueError, match=r"`y_true` must be domain numbers .*\(5, 3\)"):
        losses.InformationMaximization()(P, P)
