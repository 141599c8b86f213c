"""Folding against a loop over frames."""

import keras
import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats


def test_fold_and_unfold_are_a_loop_over_frames():
    frames = floats(3, 4, 6, 6, 1)
    convolve = keras.layers.Conv2D(2, 3)
    y = layers.UnfoldBatch(4)(convolve(layers.FoldBatch()(frames)))
    expected = np.stack([convolve(frames[:, t]) for t in range(4)], axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_fold_keeps_samples_together():
    frames = floats(3, 4, 2)
    folded = layers.FoldBatch()(frames)
    assert np.array_equal(folded, [frames[b, t] for b in range(3) for t in range(4)])
    assert np.array_equal(layers.UnfoldBatch(4)(folded), frames)


@pytest.mark.parametrize("make", [layers.FoldBatch, lambda **k: layers.UnfoldBatch(2, **k)])
def test_values_stay_exact_under_a_float16_policy(make):
    x = np.full((2, 2, 3), 2049.1, "float32")
    y = np.array(make(dtype="mixed_float16")(x))
    assert y.dtype == "float32"
    assert np.array_equal(y.ravel(), x.ravel())


def test_static_batch():
    x = keras.Input(batch_shape=(2, 4, 5))
    y = layers.FoldBatch()(x)
    assert y.shape == (8, 5)
    assert layers.UnfoldBatch(4)(y).shape == (2, 4, 5)


def test_count():
    with pytest.raises(ValueError, match="`count` must be an integer of at least 1"):
        layers.UnfoldBatch(0)
