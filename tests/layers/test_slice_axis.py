"""Slices of the first axis."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats


def test_oracle():
    x = floats(2, 5, 3)
    assert np.array_equal(layers.SliceAxis(1, 3)(x), x[:, 1:3])
    assert np.array_equal(layers.SliceAxis(2, 3)(x), x[:, 2:3])
    assert np.array_equal(layers.SliceAxis(2, 3, squeeze=True)(x), x[:, 2])


def test_ids_stay_exact_under_a_float16_policy():
    x = np.array([[1.0, 2049.0]], "float32")
    y = layers.SliceAxis(1, 2, dtype="mixed_float16")(x)
    assert np.array_equal(y, [[2049.0]])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((-1, 2), "`start` must be an integer of at least 0"),
        ((2, 2), "`stop` must be an integer of at least 3"),
        ((0, 2, True), "`squeeze` must be False unless stop = start"),
    ],
)
def test_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        layers.SliceAxis(*args)


def test_beyond_the_axis():
    with pytest.raises(ValueError, match="`stop` must be at most 5, the length of the axis"):
        layers.SliceAxis(3, 6)(floats(2, 5))
