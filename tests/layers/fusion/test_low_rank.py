"""Low-rank fusion against the tensor it stands for."""

import keras
import numpy as np
import pytest

from mm_keras import layers
from mm_keras.testing import gradients
from tests.conformance.cases import floats, fusion_features


def make(names, width=3, rank=4):
    features = fusion_features(names, width=5)
    layer = layers.LowRankFusion(width, rank)
    layer(features)
    layer.set_weights([floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer, features


def factors(layer):
    """`F_m` with the row of the 1 before the others: `(1 + D_m, R, D)`."""
    return [
        np.concatenate([offset.numpy()[None], factor.numpy()])
        for offset, factor in zip(layer.offsets, layer.factors, strict=True)
    ]


def ones_before(features, name):
    return np.pad(features[name].mean(1), ((0, 0), (1, 0)), constant_values=1)


def test_two_are_the_full_tensor_contracted():
    layer, features = make(("a", "b"))
    first, second = factors(layer)
    weights = np.einsum("r,ird,jrd->ijd", layer.rank_weights.numpy(), first, second)
    tensor = np.einsum("bi,bj->bij", ones_before(features, "a"), ones_before(features, "b"))
    expected = np.einsum("bij,ijd->bd", tensor, weights) + layer.bias.numpy()
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-4)


def test_three_are_the_full_tensor_contracted():
    layer, features = make(("a", "b", "c"))
    weights = np.einsum("r,ird,jrd,krd->ijkd", layer.rank_weights.numpy(), *factors(layer))
    vectors = [ones_before(features, name) for name in "abc"]
    expected = np.einsum("bi,bj,bk,ijkd->bd", *vectors, weights) + layer.bias.numpy()
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-4)


def test_absent_leaves_the_fusion_of_the_others():
    layer, features = make(("a", "b", "c"))
    y = layer(features, mask={"b": np.zeros((4, 1), "bool")})
    smaller = layers.LowRankFusion(3, 4)
    others = {name: features[name] for name in "ac"}
    smaller(others)
    values = {w.name: w.numpy() for w in layer.weights}
    smaller.set_weights([values[w.name] for w in smaller.weights])
    np.testing.assert_allclose(y, smaller(others), rtol=1e-4, atol=1e-5)


def test_every_factor_is_trained_and_saved(tmp_path):
    layer, features = make(("a", "b", "c"))
    names = {w.name for w in layer.trainable_weights}
    assert {"a_factor", "b_factor", "c_factor", "a_offset", "rank_weights", "bias"} <= names
    for path, gradient in gradients(lambda: layer(features), layer).items():
        assert np.any(gradient), path
    inputs = {name: keras.Input(array.shape[1:], name=name) for name, array in features.items()}
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == 8
    for before, after in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("argument", ["width", "rank"])
def test_arguments(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be an integer of at least 1"):
        layers.LowRankFusion(**{argument: 0})
