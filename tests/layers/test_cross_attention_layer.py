"""Cross-attention that keeps the positions: the part of the fusion before pooling."""

import keras
import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import floats, fusion_features
from tests.layers.fusion.test_cross_attention import attend, normalise


def made(names=("a", "b", "c")):
    features = fusion_features(names)
    layer = layers.CrossAttention(2)
    layer(features)
    layer.set_weights(
        [w + 0.2 * floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())]
    )
    rng = np.random.default_rng(3)
    mask = {name: rng.random(array.shape[:2]) < 0.6 for name, array in features.items()}
    mask["a"][0] = False  # absent
    mask["a"][1] = True
    for name in names[1:]:
        mask[name][1] = False  # `a` is alone there
    return layer, features, mask


@pytest.mark.parametrize("masked", [False, True])
def test_oracle(masked):
    layer, features, mask = made()
    if not masked:
        mask = {name: np.ones_like(m) for name, m in mask.items()}
    outputs = layer(features, mask=mask if masked else None)
    for index, name in enumerate(layer.names):
        expected = np.zeros_like(features[name])
        for b in range(4):
            there = {n: features[n][b][mask[n][b]] for n in layer.names}
            keys = np.concatenate([there[n] for n in layer.names if n != name])
            if len(there[name]):
                z = there[name]
                z = z + attend(layer.attentions[index], z, keys) if len(keys) else z
                expected[b][mask[name][b]] = normalise(z, layer.norms[index])
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-5)


def test_pooled_it_is_the_fusion():
    layer, features, mask = made()
    fusion = layers.CrossAttentionFusion(2)
    fusion(features)
    fusion.set_weights(layer.get_weights())
    pooled = layers.ElementwiseFusion("mean")(layer(features, mask=mask), mask=mask)
    np.testing.assert_allclose(pooled, fusion(features, mask=mask), rtol=1e-4, atol=1e-5)


def test_absent_has_no_effect_and_no_gradient():
    layer, features, mask = made()
    garbage = {n: np.where(mask[n][..., None], x, np.inf) for n, x in features.items()}
    outputs, expected = layer(garbage, mask=mask), layer(features, mask=mask)
    found = testing.gradients(lambda x: layer(x, mask=mask), layer, features)
    for name in features:
        np.testing.assert_array_equal(outputs[name], expected[name])
        assert not np.any(found[name][~mask[name]])
        assert np.any(found[name][mask[name]])


def test_what_was_attended_to():
    layer, features, mask = made()
    outputs, weights = layer(features, mask=mask, return_attention=True)
    expected = layer(features, mask=mask)
    inputs = {name: keras.Input(x.shape[1:]) for name, x in features.items()}
    symbolic = layer(inputs, return_attention=True)
    fusion = layers.CrossAttentionFusion(2)
    pooled = fusion(features, mask=mask, return_attention=True)
    np.testing.assert_array_equal(pooled[0], fusion(features, mask=mask))
    for name in layer.names:
        np.testing.assert_array_equal(outputs[name], expected[name])
        assert symbolic[0][name].shape[1:] == outputs[name].shape[1:]
        assert symbolic[1][name].shape[1:] == weights[name].shape[1:] == pooled[1][name].shape[1:]
        kept = np.concatenate([mask[n] for n in layer.names if n != name], axis=1)
        sums = np.asarray(weights[name]).sum(axis=-1)
        there = np.broadcast_to(kept.any(axis=1)[:, None, None], sums.shape)
        np.testing.assert_allclose(sums, there, rtol=1e-5)
        assert not np.moveaxis(np.asarray(weights[name]), -1, 1)[~kept].any()


def test_errors():
    with pytest.raises(ValueError, match="must have at least 2 modalities"):
        layers.CrossAttention()(fusion_features(("a",)))
    with pytest.raises(ValueError, match="`heads` must divide the width 8"):
        layers.CrossAttention(3)(fusion_features())
    with pytest.raises(TypeError, match="pooling"):
        layers.CrossAttention(pooling="max")
