"""Features joined with predictions."""

import numpy as np
import pytest
import tensorflow as tf

from mm_keras import layers
from tests.conformance.cases import floats

FEATURES = floats(5, 6)
PREDICTIONS = np.abs(floats(5, 4, seed=1)) / np.abs(floats(5, 4, seed=1)).sum(1, keepdims=True)


def test_outer_product_and_its_norm():
    found = np.asarray(layers.ConditionalFeatures()(FEATURES, PREDICTIONS))
    expected = np.stack(
        [np.outer(f, p).ravel() for f, p in zip(FEATURES, PREDICTIONS, strict=True)]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    norms = np.linalg.norm(FEATURES, axis=1) * np.linalg.norm(PREDICTIONS, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), norms, rtol=1e-5)


def test_random_projection_keeps_inner_products_on_average():
    layer = layers.ConditionalFeatures(max_width=23, seed=0)
    found = np.asarray(layer(FEATURES, PREDICTIONS))
    assert found.shape == (5, 23)
    features, classes = layer.get_weights()
    np.testing.assert_allclose(
        found, (FEATURES @ features) * (PREDICTIONS @ classes) / np.sqrt(23), rtol=1e-4, atol=1e-6
    )
    expected = (FEATURES @ FEATURES.T) * (PREDICTIONS @ PREDICTIONS.T)
    products = []
    for seed in range(0, 1000, 2):
        x = np.asarray(layers.ConditionalFeatures(max_width=23, seed=seed)(FEATURES, PREDICTIONS))
        products.append(x @ x.T)
    np.testing.assert_allclose(np.mean(products, axis=0), expected, atol=0.15)


def test_the_projection_is_only_made_where_the_product_is_too_wide():
    for max_width, weights in ((24, 0), (23, 2)):
        layer = layers.ConditionalFeatures(max_width=max_width)
        layer.build(FEATURES.shape, PREDICTIONS.shape)
        assert len(layer.weights) == weights
        assert not layer.trainable_weights


@pytest.mark.parametrize("max_width", [4096, 7])
def test_no_gradient_reaches_the_predictions(max_width):
    f, p = tf.constant(FEATURES), tf.constant(PREDICTIONS)
    with tf.GradientTape() as tape:
        tape.watch([f, p])
        y = tf.reduce_sum(layers.ConditionalFeatures(max_width)(f, p) ** 2)
    found, none = tape.gradient(y, [f, p])
    assert np.any(found)
    assert none is None or not np.any(none)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.ConditionalFeatures(0), "`max_width` must be an integer of at least 1"),
        (
            lambda: layers.ConditionalFeatures()(floats(2, 3, 4), floats(2, 3)),
            r"`inputs` of ConditionalFeatures must be \(B, width\). Received shape: \(2, 3, 4\)",
        ),
        (
            lambda: layers.ConditionalFeatures()(floats(2, 3), floats(2, 3, 1)),
            "`predictions` of ConditionalFeatures must be",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
