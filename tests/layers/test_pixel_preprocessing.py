"""Preprocessing against that of keras.applications."""

import keras
import numpy as np
import pytest

from mm_keras import layers

MODELS = {
    "tf": keras.applications.mobilenet_v2,
    "torch": keras.applications.densenet,
    "caffe": keras.applications.resnet,
    "none": keras.applications.efficientnet,
}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("mode", MODELS)
def test_agrees_with_keras_applications(mode, dtype):
    expected = MODELS[mode].preprocess_input(PIXELS.astype("float32"))
    y = layers.PixelPreprocessing(mode)(PIXELS.astype(dtype))
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-5)


def test_float32_under_a_float16_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = layers.PixelPreprocessing("caffe")
    finally:
        keras.config.set_dtype_policy(before)
    pixels = (PIXELS + 0.1).astype("float32")
    expected = MODELS["caffe"].preprocess_input(pixels.copy())
    np.testing.assert_allclose(layer(pixels), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("mode", MODELS)
def test_replicate(mode):
    grey = PIXELS[..., :1].astype("uint8")
    expected = layers.PixelPreprocessing(mode)(np.repeat(grey, 3, axis=-1))
    assert np.array_equal(layers.PixelPreprocessing(mode, replicate=True)(grey), expected)


def test_input_is_left_as_it_is():
    pixels = PIXELS.astype("float32")
    layers.PixelPreprocessing("caffe")(pixels)
    assert np.array_equal(pixels, PIXELS)


def test_more_axes():
    clip = np.stack([PIXELS, PIXELS[::-1]], axis=1)
    layer = layers.PixelPreprocessing("torch")
    np.testing.assert_allclose(layer(clip)[:, 0], layer(PIXELS), rtol=1e-6, atol=1e-6)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"`mode` must be one of .* Did you mean 'torch'"):
        layers.PixelPreprocessing("pytorch")
