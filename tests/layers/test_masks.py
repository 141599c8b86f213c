"""Masks."""

import numpy as np
import pytest

from mm_keras import layers
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats


def test_padding_mask():
    ids = np.array([[5, 0, 3], [0, 0, 0], [70000, 1, 2]], "int32")
    mask = layers.PaddingMask(dtype="mixed_float16")(ids)
    assert np.array_equal(mask, [[1, 0, 1], [0, 0, 0], [1, 1, 1]])


def test_always_present():
    mask = layers.AlwaysPresent()(floats(3, 2, 5))
    assert mask.shape == (3, 1)
    assert np.all(mask)


def test_zero_masked():
    for mask in (POSITIONS, PRESENT):
        x = floats(4, 3, 5)
        kept = np.broadcast_to(mask, (4, 3))
        expected = np.where(kept[..., None], x, 0)
        x[~kept] = np.nan
        layer = layers.ZeroMasked()
        assert np.array_equal(layer(x, mask), expected)
        gradient = gradients(lambda t, layer=layer, m=mask: layer(t["x"], m), layer, {"x": x})["x"]
        assert np.array_equal(np.any(gradient, axis=-1), kept)


@pytest.mark.parametrize("present", [None, [[True], [False]], [[True, False, True]] * 2])
def test_view_mask(present):
    expected = np.broadcast_to(True if present is None else present, (2, 3))
    given = None if present is None else np.array(present)
    mask = layers.ViewMask()(np.full((2, 3, 5), np.nan, "float32"), present=given)
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == "bool"
