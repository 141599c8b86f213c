"""Columns against a loop."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats


def oracle(layer, rows):
    """One vector a column, in a loop over samples and columns."""
    out = np.zeros((len(rows), rows.shape[1], layer.width))
    scale, shift = (w.numpy() for w in (layer.scale, layer.shift))
    table = layer.rows.numpy()
    for b, row in enumerate(rows):
        start = 0
        for j, value in enumerate(row):
            if j < layer.numeric:
                out[b, j] = value * scale[j] + shift[j]
            else:
                out[b, j] = table[start + int(value)]
                start += layer.vocabulary_sizes[j - layer.numeric]
    return out


def test_oracle():
    rows = np.array([[0.5, -1, 0, 4], [2, 3, 2, 0]], "float32")
    layer = layers.ColumnEmbedding(2, [3, 5], 4)
    np.testing.assert_allclose(layer(rows), oracle(layer, rows), rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_large_ids_stay_exact(policy):
    layer = layers.ColumnEmbedding(0, [5000], 2, dtype=policy)
    layer.build((None, 1))
    layer.rows.assign(np.stack([np.arange(5000) % 7, np.arange(5000) % 11], axis=1))
    ids = np.arange(2040, 2060)
    expected = np.stack([ids % 7, ids % 11], axis=1)[:, None]
    assert np.array_equal(layer(ids[:, None].astype("float32")), expected)


def test_only_one_kind():
    assert layers.ColumnEmbedding(2, [], 4)(floats(3, 2)).shape == (3, 2, 4)
    assert len(layers.ColumnEmbedding(0, [3], 4)(np.zeros((2, 1))).shape) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((-1, [3], 4), "`numeric` must be an integer of at least 0"),
        ((1, [0], 4), "`vocabulary_sizes` must be an integer of at least 1"),
        ((1, [3], 0), "`width` must be an integer of at least 1"),
        ((0, [], 4), "must give at least one column together"),
        ((2, [3], 4), "`inputs` must have 3 columns"),
    ],
)
def test_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        layers.ColumnEmbedding(*args)(floats(2, 2))
