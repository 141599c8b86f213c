"""The log-mel picture against Keras' own layer, and what that one lacks."""

import keras
import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats

OPTIONS = {"mel_bins": 8, "min_freq": 100.0}


def make(**kwargs):
    return layers.LogMelSpectrogram(8000, 64, 32, 64, **OPTIONS, **kwargs)


def keras_layer(top_db):
    return keras.layers.MelSpectrogram(
        fft_length=64,
        sequence_stride=32,
        sequence_length=64,
        sampling_rate=8000,
        num_mel_bins=8,
        min_freq=100.0,
        max_freq=None,
        top_db=top_db,
    )


@pytest.mark.parametrize("top_db", [10.0, 80.0])
def test_agrees_with_keras_on_one_sample(top_db):
    sound = 0.1 * floats(1, 512)
    sound[:, 100:200] = 0  # something below the cut
    decibels = np.swapaxes(keras_layer(top_db)(sound), 1, 2)[..., None]
    expected = 255 * (1 + (decibels - decibels.max()) / top_db)
    np.testing.assert_allclose(make(top_db=top_db)(sound), expected, atol=1e-2)


def test_range():
    sound = 0.1 * floats(2, 512)
    sound[:, :200] = 0
    pixels = np.array(make(top_db=20.0)(sound))
    np.testing.assert_allclose(pixels.max((1, 2, 3)), 255)
    np.testing.assert_allclose(pixels.min((1, 2, 3)), 0, atol=1e-4)


def test_samples_do_not_depend_on_each_other():
    quiet, loud = 1e-4 * floats(1, 512, seed=1), floats(1, 512, seed=2)
    both = np.concatenate([quiet, loud])
    layer = make(top_db=20.0)
    np.testing.assert_allclose(layer(both)[:1], layer(quiet), atol=1e-3)
    # Keras cuts below the loudest point of the batch: this is why the layer is there.
    theirs = keras_layer(20.0)
    assert np.ptp(theirs(quiet)) > 10
    assert np.ptp(np.array(theirs(both))[0]) == 0


def test_loudness_cancels():
    sound = floats(1, 512)
    layer = make()
    np.testing.assert_allclose(layer(0.01 * sound), layer(sound), atol=0.05)


def test_silence():
    assert np.array_equal(make()(np.zeros((2, 512))), np.full((2, 17, 8, 1), 255))


@pytest.mark.parametrize("samples", [64, 100, 512])
def test_shape(samples):
    layer = make()
    assert layer.compute_output_shape((2, samples)) == layer(floats(2, samples)).shape


def test_float32_under_a_float16_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = make()
    finally:
        keras.config.set_dtype_policy(before)
    sound = floats(1, 512)
    assert half(sound).dtype == "float32"
    assert half(keras.Input((512,))).dtype == "float32"
    assert np.array_equal(half(sound), make()(sound))


@pytest.mark.parametrize("top_db", [0, -1, 1e5])
def test_top_db(top_db):
    with pytest.raises(ValueError, match="`top_db` must be at least"):
        make(top_db=top_db)
