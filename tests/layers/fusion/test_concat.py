"""Concatenation."""

import keras
import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats

FEATURES = {"b": floats(4, 3, 5, seed=1), "a": floats(4, 2, 7, seed=2), "c": floats(4, 1, 2)}
POOLED = {name: array.mean(1) for name, array in FEATURES.items()}


def test_sorted_by_name():
    expected = np.concatenate([POOLED[name] for name in "abc"], axis=-1)
    np.testing.assert_allclose(layers.ConcatFusion()(FEATURES), expected, rtol=1e-5, atol=1e-6)


def test_pooling():
    expected = np.concatenate([FEATURES[name].max(1) for name in "abc"], axis=-1)
    assert np.array_equal(layers.ConcatFusion(pooling="max")(FEATURES), expected)


def test_logits_are_affine_and_split_by_modality():
    """W [h_a; h_b; h_c] + b = Σ_m (W_m h_m + b/M)."""
    dense = keras.layers.Dense(6, bias_initializer="random_normal")
    logits = dense(layers.ConcatFusion()(FEATURES))
    kernel, bias = dense.get_weights()
    affine = np.concatenate([POOLED[name] for name in "abc"], axis=-1) @ kernel + bias
    blocks = dict(zip("abc", np.split(kernel, [7, 12]), strict=True))
    parts = sum(POOLED[name] @ blocks[name] + bias / 3 for name in "abc")
    np.testing.assert_allclose(logits, affine, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits, parts, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("absent", ["a", "b", "c"])
def test_an_absent_block_is_zero(absent):
    y = layers.ConcatFusion()(FEATURES, mask={absent: np.zeros((4, 1), "bool")})
    expected = [POOLED[name] * (name != absent) for name in "abc"]
    np.testing.assert_allclose(y, np.concatenate(expected, axis=-1), rtol=1e-5, atol=1e-6)
