"""The wide part against a product with one-hot vectors."""

import numpy as np
import pytest

from mm_keras import layers
from mm_keras.testing import gradients
from tests.conformance.cases import floats


def test_starts_at_zero_and_is_linear_in_one_hots():
    ids = np.array([[0, 3], [9, 9], [4, 4]], "float32")
    layer = layers.HashedWide(2, 10, 3)
    assert not np.any(layer(ids))
    rows = floats(20, 3)
    layer.set_weights([rows])
    one_hot = np.zeros((3, 20))
    for b, (first, second) in enumerate(ids.astype(int)):
        one_hot[b, first] = one_hot[b, 10 + second] = 1
    np.testing.assert_allclose(layer(ids), one_hot @ rows, rtol=1e-5)
    np.testing.assert_array_equal(layer.look_up(ids)[2], rows[[4, 14]])
    gradient = gradients(lambda: layer(ids), layer)[layer.rows.path]
    assert np.array_equal(np.any(gradient, axis=1), one_hot.any(axis=0))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_large_ids_stay_exact(policy):
    layer = layers.HashedWide(1, 100_000, 1, dtype=policy)
    layer.build((None, 1))
    layer.set_weights([(np.arange(100_000) % 13)[:, None]])
    ids = np.array([[2049], [4097], [70_001], [99_999]], "float32")
    assert np.array_equal(layer(ids), ids % 13)


@pytest.mark.parametrize("argument", ["crosses", "buckets", "width"])
def test_arguments(argument):
    arguments = {"crosses": 1, "buckets": 1, "width": 1, argument: 0}
    with pytest.raises(ValueError, match=f"`{argument}` must be an integer of at least 1"):
        layers.HashedWide(**arguments)


def test_wrong_number_of_columns():
    with pytest.raises(ValueError, match="`inputs` must have 2 columns, one for each cross"):
        layers.HashedWide(2, 10, 3)(np.zeros((4, 1)))
