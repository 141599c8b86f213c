"""Cross-attention against loops over modalities, samples and heads."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats, fusion_features


def normalise(x, norm):
    gamma, beta = norm.get_weights()
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.epsilon) * gamma + beta


def attend(attention, query, keys):
    """One sample: `(N, D)` attends to `(K, D)`."""
    wq, bq, wk, bk, wv, bv, wo, bo = attention.get_weights()
    context = np.zeros_like(query) + bo
    for head in range(wq.shape[1]):
        q = query @ wq[:, head] + bq[head]
        k, v = keys @ wk[:, head] + bk[head], keys @ wv[:, head] + bv[head]
        powers = np.exp(q @ k.T / np.sqrt(q.shape[-1]))
        context += powers / powers.sum(-1, keepdims=True) @ v @ wo[head]
    return context


def oracle(layer, features, mask):
    """Modality by modality on the positions that are there."""
    rows = []
    for b in range(len(features[layer.names[0]])):
        there = {name: features[name][b][mask[name][b]] for name in layer.names}
        fused = []
        for index, name in enumerate(layer.names):
            keys = np.concatenate([there[other] for other in layer.names if other != name])
            z = there[name]
            if not len(z):
                continue
            if len(keys):
                z = z + attend(layer.attentions[index], z, keys)
            fused.append(normalise(z, layer.norms[index]).mean(0))
        rows.append(np.mean(fused, axis=0) if fused else np.zeros(8))
    return np.stack(rows)


def make(names, heads=2):
    features = fusion_features(names)
    layer = layers.CrossAttentionFusion(heads)
    layer(features)
    layer.set_weights(
        [w + 0.2 * floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())]
    )
    return layer, features


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_oracle(names):
    layer, features = make(names)
    everywhere = {name: np.ones(array.shape[:2], "bool") for name, array in features.items()}
    expected = oracle(layer, features, everywhere)
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_masked_oracle(names):
    layer, features = make(names)
    rng = np.random.default_rng(3)
    mask = {name: rng.random(array.shape[:2]) < 0.6 for name, array in features.items()}
    mask["a"][0] = False
    mask["a"][1] = True
    for name in names[1:]:
        mask[name][1] = False  # `a` is alone there
        mask[name][2] = False
    mask["a"][2] = False  # and here is nothing
    expected = oracle(layer, features, mask)
    assert not np.any(expected[2])
    np.testing.assert_allclose(layer(features, mask=mask), expected, rtol=1e-4, atol=1e-5)


def test_alone_is_only_normalised():
    layer, features = make(("a", "b"))
    y = layer(features, mask={"b": np.zeros((4, 1), "bool")})
    expected = normalise(features["a"], layer.norms[0]).mean(1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_pooling():
    layer, features = make(("a", "b"))
    highest = layers.CrossAttentionFusion(2, pooling="max")
    highest(features)
    highest.set_weights(layer.get_weights())
    mask = {"b": np.zeros((4, 1), "bool")}
    expected = normalise(features["a"], layer.norms[0]).max(1)
    np.testing.assert_allclose(highest(features, mask=mask), expected, rtol=1e-4, atol=1e-5)


def test_dropout_in_training_only():
    features = fusion_features()
    layer = layers.CrossAttentionFusion(2, dropout=0.5)
    assert np.array_equal(layer(features), layer(features))
    assert not np.array_equal(layer(features, training=True), layer(features, training=True))


@pytest.mark.parametrize(
    ("kwargs", "names", "message"),
    [
        ({"heads": 0}, ("a", "b"), "`heads` must be an integer of at least 1"),
        ({"heads": 3}, ("a", "b"), "`heads` must divide the width 8 of the features"),
        ({"dropout": 1}, ("a", "b"), r"`dropout` must be at least 0\.0 and below 1\.0"),
        ({}, ("a",), "must have at least 2 modalities"),
    ],
)
def test_arguments(kwargs, names, message):
    with pytest.raises(ValueError, match=message):
        layers.CrossAttentionFusion(**kwargs)(fusion_features(names))
