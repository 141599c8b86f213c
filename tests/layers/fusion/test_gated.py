"""The gated multimodal unit."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats, fusion_features


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def make(names, width=6):
    """A layer with random weights, its inputs, and `tanh(W_m x_m + b_m)` of them."""
    features = fusion_features(names)
    layer = layers.GatedFusion(width)
    layer(features)
    layer.set_weights([floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    pooled = [features[name].mean(1) for name in sorted(names)]
    hidden = []
    for transform, x in zip(layer.transforms, pooled, strict=True):
        kernel, bias = transform.get_weights()
        hidden.append(np.tanh(x @ kernel + bias))
    kernel, bias = layer.gate.get_weights()
    return layer, features, hidden, np.concatenate(pooled, axis=-1) @ kernel + bias


def test_two_share_one_gate():
    layer, features, (first, second), z = make(("a", "b"))
    g = sigmoid(z)
    np.testing.assert_allclose(layer(features), g * first + (1 - g) * second, rtol=1e-4, atol=1e-5)


def test_three_have_gates_of_their_own():
    layer, features, hidden, z = make(("a", "b", "c"))
    gates = np.split(sigmoid(z), 3, axis=-1)
    expected = sum(g * h for g, h in zip(gates, hidden, strict=True))
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alone", [0, 1])
def test_alone_of_two_has_weight_1(alone):
    layer, features, hidden, _ = make(("a", "b"))
    mask = {"ab"[1 - alone]: np.zeros((4, 1), "bool")}
    np.testing.assert_allclose(layer(features, mask=mask), hidden[alone], rtol=1e-5, atol=1e-6)


def test_absent_of_three_has_weight_0_and_leaves_the_others_theirs():
    layer, features, hidden, _ = make(("a", "b", "c"))
    y = layer(features, mask={"b": np.zeros((4, 1), "bool")})
    kernel, bias = layer.gate.get_weights()
    pooled = [features["a"].mean(1), np.zeros((4, 8)), features["c"].mean(1)]
    gates = np.split(sigmoid(np.concatenate(pooled, axis=-1) @ kernel + bias), 3, axis=-1)
    expected = gates[0] * hidden[0] + gates[2] * hidden[2]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_gates_start_at_one_half(names):
    features = fusion_features(names)
    layer = layers.GatedFusion()
    y = layer(features)
    hidden = [
        np.tanh(features[name].mean(1) @ transform.get_weights()[0])
        for name, transform in zip(names, layer.transforms, strict=True)
    ]
    np.testing.assert_allclose(y, sum(hidden) / 2, rtol=1e-4, atol=1e-5)


def test_large_gates_in_float16():
    layer, features, (first, second), _ = make(("a", "b"))
    for z, expected in ((3e4, first), (-3e4, second)):
        half = layers.GatedFusion(6, dtype="mixed_float16")
        half.build({name: array.shape for name, array in features.items()})
        half.set_weights(layer.get_weights())
        half.gate.set_weights([np.zeros((16, 6)), np.full(6, z)])
        np.testing.assert_allclose(half(features), expected, atol=5e-3)


def test_width():
    assert layers.GatedFusion()({"a": floats(2, 1, 3), "b": floats(2, 1, 5)}).shape == (2, 3)
    with pytest.raises(ValueError, match="`width` must be an integer of at least 1"):
        layers.GatedFusion(0)
