"""Marked outputs."""

import numpy as np

from mm_keras import layers
from tests.conformance.cases import floats


def test_returns_what_it_is_given():
    x = floats(2, 3)
    layer = layers.TrainingOutput()
    assert np.array_equal(layer(x), x)
    assert np.array_equal(layer(x, training=True), x)


def test_keeps_float32_under_a_float16_policy():
    x = floats(2, 3)
    y = layers.TrainingOutput(dtype="mixed_float16")(x)
    assert y.dtype == "float32"
    assert np.array_equal(y, x)


def test_is_marked():
    assert isinstance(layers.TrainingOutput(), layers.TrainingOnly)
    assert isinstance(layers.ModalityDropout(0.1), layers.TrainingOnly)
