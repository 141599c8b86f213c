"""Pooling against loops in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from mm_keras import layers
from mm_keras.layers.sequence_pooling import masked_softmax
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats


def oracle(x, mask, mode, score=None):
    """Pools each sample's kept positions in a loop."""
    rows = []
    for sample, kept in zip(x, np.broadcast_to(mask, x.shape[:2]), strict=True):
        there = sample[kept]
        if not len(there):
            rows.append(np.zeros(x.shape[-1]))
        elif mode == "attention":
            powers = np.exp(there @ score)
            rows.append((powers * there).sum(0) / powers.sum())
        else:
            rows.append(getattr(there, mode)(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("mask", [None, POSITIONS, PRESENT], ids=["no mask", "(B, N)", "(B, 1)"])
@pytest.mark.parametrize("mode", ["mean", "max", "attention"])
def test_oracle(mode, mask):
    x = floats(4, 3, 5) - 2  # mostly negative: a zero from a masked position would be a maximum
    layer = layers.SequencePooling(mode)
    y = layer(x, mask=mask)
    score = layer.score.numpy() if mode == "attention" else None
    expected = oracle(x, np.ones((4, 3), "bool") if mask is None else mask, mode, score)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "max", "attention"])
def test_masked_positions_have_no_effect_and_no_gradient(mode):
    x = floats(4, 3, 5)
    layer = layers.SequencePooling(mode)
    expected = np.array(layer(x, mask=POSITIONS))
    x[~POSITIONS] = np.nan
    assert np.array_equal(layer(x, mask=POSITIONS), expected)
    gradient = gradients(lambda t: layer(t["x"], mask=POSITIONS), layer, {"x": x})["x"]
    assert not np.any(gradient[~POSITIONS])
    assert np.any(gradient[POSITIONS])


@pytest.mark.parametrize("mode", ["mean", "max", "attention"])
@pytest.mark.parametrize("masked", [False, True])
def test_float16_does_not_overflow(mode, masked):
    x = np.full((1, 5000, 2), 60, "float16")  # the sum, 300,000, is above float16's 65,504
    mask = np.ones((1, 5000), "bool") if masked else None
    y = layers.SequencePooling(mode, dtype="mixed_float16")(x, mask=mask)
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, [[60, 60]], rtol=1e-3)


def test_masked_softmax_of_low_scores():
    """Kept scores below any constant that might stand for minus infinity still get the weight."""
    scores = np.array([[-3e4, -3e4, 5.0]], "float16")
    weights = masked_softmax(ops.convert_to_tensor(scores), np.array([[True, True, False]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0]])


def test_masked_softmax_of_nothing():
    weights = masked_softmax(ops.convert_to_tensor(floats(2, 3)), np.zeros((2, 3), "bool"))
    assert not np.any(weights)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"`mode` must be one of .* Did you mean 'mean'"):
        layers.SequencePooling("meen")


def test_weights_of_the_positions():
    x, layer = floats(4, 3, 5), layers.SequencePooling("attention")
    pooled, weights = layer(x, mask=POSITIONS, return_attention=True)
    np.testing.assert_array_equal(pooled, layer(x, mask=POSITIONS))
    weights = np.asarray(weights)
    np.testing.assert_allclose(np.einsum("bn,bnd->bd", weights, x), pooled, rtol=1e-5, atol=1e-6)
    assert not weights[~POSITIONS].any()
    np.testing.assert_allclose(weights.sum(axis=1), POSITIONS.any(axis=1), rtol=1e-6)
    symbolic = layer(keras.Input((3, 5)), return_attention=True)
    assert [tuple(tensor.shape) for tensor in symbolic] == [(None, 5), (None, 3)]
    with pytest.raises(ValueError, match="`return_attention` must be False for a pooling without"):
        layers.SequencePooling("max")(x, return_attention=True)
