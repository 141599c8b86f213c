"""Tensor fusion."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats, fusion_features


def project(layer, features):
    return [
        features[name].mean(1) @ projection.get_weights()[0]
        for name, projection in zip(layer.names, layer.projections, strict=True)
    ]


def test_slices():
    features = fusion_features(("a", "b"))
    layer = layers.TensorFusion(width=5)
    tensor = np.array(layer(features)).reshape(4, 6, 6)
    first, second = project(layer, features)
    np.testing.assert_array_equal(tensor[:, 0, 0], 1)
    np.testing.assert_allclose(tensor[:, 1:, 0], first, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tensor[:, 0, 1:], second, rtol=1e-4, atol=1e-6)
    outer = np.einsum("bi,bj->bij", first, second)
    np.testing.assert_allclose(tensor[:, 1:, 1:], outer, rtol=1e-4, atol=1e-6)


def test_three():
    features = fusion_features()
    layer = layers.TensorFusion(width=2)
    y = layer(features)
    vectors = [np.pad(v, ((0, 0), (1, 0)), constant_values=1) for v in project(layer, features)]
    expected = np.einsum("bi,bj,bk->bijk", *vectors).reshape(4, 27)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_absent_leaves_the_1():
    features = fusion_features(("a", "b"))
    layer = layers.TensorFusion(width=5)
    tensor = np.array(layer(features, mask={"b": np.zeros((4, 1), "bool")})).reshape(4, 6, 6)
    np.testing.assert_allclose(tensor[:, 1:, 0], project(layer, features)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(tensor[:, 0, 0], 1)
    assert not np.any(tensor[:, :, 1:])


def test_too_many_entries():
    features = {name: floats(1, 1, 2) for name in "abcde"}
    with pytest.raises(ValueError, match=r"at most 1048576; LowRankFusion .*width=16 and 5 mod"):
        layers.TensorFusion()(features)
    assert layers.TensorFusion(15)(features).shape == (1, 2**20)
