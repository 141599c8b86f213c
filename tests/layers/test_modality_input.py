"""Where a modality enters: absent samples are cleared, the spec travels with the model."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras import layers
from mm_keras.testing import gradients

IMAGE = mm.Image((2, 2, 1), optional=True, backbone="SmallCNN")


@pytest.mark.parametrize("garbage", [7.0, np.inf, np.nan])
def test_absent_samples_are_cleared(garbage):
    pixels = np.full((2, 2, 2, 1), 5, "float32")
    pixels[1] = garbage
    present = np.array([[True], [False]])
    layer = layers.ModalityInput(IMAGE)
    y = np.array(layer(pixels, present=present))
    assert np.all(y[0] == 5)
    assert np.all(y[1] == 0)
    found = gradients(lambda t: layer(t["x"], present=present), layer, {"x": pixels})["x"]
    assert np.all(found[0])
    assert not np.any(found[1])


def test_without_presence_nothing_changes():
    x = np.array([[1.5, -2]], "float32")
    assert np.array_equal(layers.ModalityInput(mm.Features(2))(x), x)


def test_dtype_is_that_of_the_spec():
    assert layers.ModalityInput(IMAGE)(np.ones((1, 2, 2, 1), "uint8")).dtype == "float32"
    text = mm.Text(max_tokens=2, vocabulary_size=9)
    assert layers.ModalityInput(text)(np.array([[3, 1]])).dtype == "int32"


def test_spec_survives_saving(tmp_path):
    inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, layers.ModalityInput(IMAGE, name="picture_input")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("picture_input").spec == IMAGE
    assert mm.modalities_of(loaded) == {"picture": IMAGE}


def test_a_backbone_is_not_stored_twice():
    x = keras.Input((2, 2, 1))
    backbone = keras.Model(x, keras.layers.Conv2D(2, 1)(x), name="mine")
    assert layers.ModalityInput(mm.Image((2, 2, 1), backbone=backbone)).spec.backbone == (
        "model:mine"
    )
