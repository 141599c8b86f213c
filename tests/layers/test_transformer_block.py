"""Self-attention: masks, symmetry, stochastic depth."""

import numpy as np
import pytest

from mm_keras import layers
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, floats


def _norm(x, layer):
    gamma, beta = layer.get_weights()
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.epsilon) * gamma + beta


def _gelu(x):
    from math import erf

    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def oracle(block, x, mask):
    """The block on `(B, N, D)`, one head after the other."""
    wq, bq, wk, bk, wv, bv, wo, bo = block.attention.get_weights()
    h = _norm(x, block.attention_norm)
    attended = np.zeros_like(x) + bo
    for head in range(block.heads):
        q, k, v = (h @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        scores = q @ np.swapaxes(k, 1, 2) / np.sqrt(q.shape[-1])
        scores = np.where(mask[:, None], scores, -1e9)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        attended += powers / powers.sum(-1, keepdims=True) @ v @ wo[head]
    x = x + attended
    (w1, b1), (w2, b2) = block.expand.get_weights(), block.contract.get_weights()
    return x + _gelu(_norm(x, block.mlp_norm) @ w1 + b1) @ w2 + b2


@pytest.mark.parametrize("mask", [None, POSITIONS[:3]], ids=["no mask", "mask"])
def test_oracle(mask):
    x = floats(3, 3, 8)
    block = layers.TransformerBlock(heads=2, expansion=3)
    y = block(x, mask=mask)
    for index, weight in enumerate(block.weights):  # biases and norms start at 0 and 1
        weight.assign_add(0.1 * floats(*weight.shape, seed=index))
    y = block(x, mask=mask)
    expected = oracle(block, x, np.ones((3, 3), "bool") if mask is None else mask)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_masked_positions_have_no_effect_on_others():
    x = floats(4, 3, 8)
    block = layers.TransformerBlock(2)
    expected = np.array(block(x, mask=POSITIONS))
    other = np.where(POSITIONS[..., None], x, 9.0).astype("float32")
    y = np.array(block(other, mask=POSITIONS))
    np.testing.assert_allclose(y[POSITIONS], expected[POSITIONS], rtol=1e-5, atol=1e-6)
    assert not np.allclose(np.array(block(other))[POSITIONS], expected[POSITIONS], atol=1e-3)


def test_equivariant_to_permutations():
    x = floats(2, 5, 8)
    order = np.array([3, 1, 4, 0, 2])
    block = layers.TransformerBlock(2)
    np.testing.assert_allclose(block(x[:, order]), np.array(block(x))[:, order], atol=1e-5)


def test_stochastic_depth():
    x = floats(200, 2, 8)
    block = layers.TransformerBlock(2, stochastic_depth=0.5)
    plain = layers.TransformerBlock(2)
    plain.build(x.shape)
    block.build(x.shape)
    plain.set_weights(block.get_weights()[: len(plain.weights)])
    np.testing.assert_allclose(block(x, training=False), plain(x), atol=1e-5)
    unchanged = np.all(np.array(block(x, training=True)) == x, axis=(1, 2))
    assert 0.15 < unchanged.mean() < 0.35  # both branches of a sample are dropped: 1/4
    trained = np.array(plain(x, training=True))
    np.testing.assert_allclose(trained, plain(x, training=False), atol=1e-6)


def test_dropout():
    x = floats(2, 3, 8)
    block = layers.TransformerBlock(2, dropout=0.5)
    assert np.array_equal(block(x), block(x))
    assert not np.allclose(block(x, training=True), block(x, training=True))


def test_no_gradient_through_masked_keys():
    x = floats(4, 3, 8)
    block = layers.TransformerBlock(2)
    kept = POSITIONS[..., None].astype("float32")
    block(x)
    found = gradients(lambda t: block(t["x"], mask=POSITIONS) * kept, block, {"x": x})["x"]
    np.testing.assert_allclose(found[~POSITIONS], 0, atol=1e-7)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"heads": 0}, "`heads` must be an integer of at least 1"),
        ({"dropout": 1.0}, "`dropout` must be at least 0.0 and below 1.0"),
        ({"stochastic_depth": -0.1}, "`stochastic_depth` must be at least 0.0"),
        ({"heads": 3}, "`heads` must divide the width 8"),
    ],
)
def test_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        layers.TransformerBlock(**kwargs)(floats(1, 2, 8))
