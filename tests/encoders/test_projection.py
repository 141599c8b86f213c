"""What every encoder does with its features: project, normalise, activate, drop, regularise."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders import ENCODERS, FeaturesEncoder
from mm_keras.encoders.text import text_backbone
from mm_keras.layers import LogMelSpectrogram

PIXELS = {"backbone": "SmallCNN"}
TABLE = {
    "numeric": ("a", "b"),
    "categorical": {"c": ("x", "y"), "d": ("z",)},
    "normalize": False,
}
# A modality and its number N of positions.
POSITIONS = [
    (mm.Image((8, 12, 1), **PIXELS), 2 * 3),
    (mm.Audio(1000, 8000, mel_bins=8), None),  # as many as the map of its spectrogram has
    (mm.Text(5, 9), 5),
    (mm.Video(3, (8, 8, 1), **PIXELS), 1),
    (mm.Video(3, (8, 8, 1), **PIXELS, temporal=None), 3),
    (mm.Video(3, (8, 8, 1), **PIXELS, temporal="gru"), 3),
    (mm.Video(3, (8, 8, 1), **PIXELS, temporal="attention"), 3),
    (mm.Views(3, (8, 8, 1), **PIXELS), 3 * 2 * 2),
    (mm.Views(3, (8, 8, 1), **PIXELS, shared=False), 3 * 2 * 2),
    (mm.Tabular(**TABLE), 4),
    (mm.Tabular(**TABLE, deep=(5,)), 1),
    (mm.Tabular(**TABLE, wide=(("c", "d"),)), 5),
    (mm.Tabular(**TABLE, deep=(5,), wide=(("c", "d"),)), 2),
    (mm.Features(7), 1),
    (mm.Features((3, 7)), 3),
]


def encode(spec, width=8):
    """Returns the model from a modality's input to its features."""
    inputs = keras.Input(spec.input_shape, dtype=spec.dtype)
    features, _ = ENCODERS[type(spec)](spec, width, "x")(inputs)
    return keras.Model(inputs, features)


def test_every_modality_is_in_the_table():
    assert {type(spec) for spec, _ in POSITIONS} == set(ENCODERS)


@pytest.mark.parametrize(("spec", "positions"), POSITIONS, ids=[repr(s) for s, _ in POSITIONS])
def test_every_modality_becomes_a_sequence(spec, positions):
    model = encode(spec)
    if positions is None:
        time, mel = model.get_layer("x_backbone").output.shape[1:3]
        positions = time * mel
        assert model.get_layer("x_spectrogram").output.shape == (None, 1 + 1000 // 80, 8, 1)
        assert (time, mel) == (3, 2)
    assert model.output_shape == (None, positions, 8)
    assert model(np.zeros((2, *spec.input_shape), spec.dtype)).shape == (2, positions, 8)


def test_audio_is_the_picture_of_its_spectrogram():
    spec = mm.Audio(1000, 8000, mel_bins=8, activation=None)
    model = encode(spec)
    x = np.random.default_rng(0).normal(0, 0.1, (2, 1000)).astype("float32")
    picture = LogMelSpectrogram(8000, 200, 80, 256, 8)(x).numpy()
    maps = model.get_layer("x_backbone")(picture / 127.5 - 1)
    kernel, bias = model.get_layer("x_projection").get_weights()
    expected = (np.asarray(maps) @ kernel[0, 0] + bias).reshape(2, -1, 8)
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [5, (3, 5)])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_features_are_an_affine_map_and_an_activation(shape, activation):
    spec = mm.Features(shape, activation=activation)
    model = encode(spec)
    x = np.random.default_rng(0).normal(size=(4, *spec.input_shape)).astype("float32")
    model.get_layer("x_projection").bias.assign(np.linspace(-1, 1, 8))
    kernel, bias = model.get_layer("x_projection").get_weights()
    affine = x.reshape(4, -1, 5) @ kernel + bias
    act = {None: lambda v: v, "relu": lambda v: np.maximum(v, 0), "tanh": np.tanh}[activation]
    np.testing.assert_allclose(model(x), act(affine), atol=1e-5)


@pytest.mark.parametrize(("normalization", "axis"), [("layer", -1), ("batch", (0, 1))])
def test_normalization_comes_before_the_activation(normalization, axis):
    spec = mm.Features((3, 5), normalization=normalization)
    model = encode(spec)
    x = np.random.default_rng(0).normal(2, 3, size=(16, 3, 5)).astype("float32")
    kernel, bias = model.get_layer("x_projection").get_weights()
    affine = x @ kernel + bias
    moments = {"axis": axis, "keepdims": True}
    expected = (affine - affine.mean(**moments)) / np.sqrt(affine.var(**moments) + 1e-3)
    np.testing.assert_allclose(model(x, training=True), np.maximum(expected, 0), atol=1e-4)


def test_dropout_acts_on_the_features_in_training_only():
    spec = mm.Features(5, dropout=0.5, activation=None)
    model = encode(spec, width=1000)
    x = np.ones((1, 5), "float32")
    inferred, trained = model(x).numpy(), model(x, training=True).numpy()
    kept = trained != 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(trained[kept], 2 * inferred[kept], rtol=1e-5)


KERNELS = [
    (mm.Features(5, l2=0.5), 1),
    (mm.Image((8, 8, 1), **PIXELS, l2=0.5), 7),
    (mm.Views(2, (8, 8, 1), **PIXELS, shared=False, l2=0.5), 13),
    (mm.Video(2, (8, 8, 1), **PIXELS, l2=0.5), 7),
    (mm.Tabular(**TABLE, deep=(5, 6), wide=(("c", "d"),), l2=0.5), 4),
]


@pytest.mark.parametrize(("spec", "kernels"), KERNELS, ids=[repr(s) for s, _ in KERNELS])
def test_l2_is_the_weighted_sum_of_squared_kernels(spec, kernels):
    model = encode(spec)
    found = [w.numpy() for w in model.weights if w.name == "kernel"]
    assert len(found) == kernels
    expected = 0.5 * sum(np.square(w).sum() for w in found)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


def test_without_l2_there_is_no_loss():
    assert encode(mm.Image((8, 8, 1), **PIXELS)).losses == []


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("backbone", ["SmallCNN", "Transformer"])
def test_stochastic_depth_drops_branches_for_each_sample(backbone, rate):
    """Equal samples stay equal in training unless a branch is dropped for some of them."""
    keras.utils.set_random_seed(0)
    if backbone == "SmallCNN":
        spec = mm.Image((8, 8, 1), backbone=backbone, stochastic_depth=rate)
        x = np.repeat(np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 1)), 16, axis=0)
    else:
        spec = mm.Text(4, 9, backbone=backbone, embedding=8, stochastic_depth=rate)
        x = np.repeat([[2, 3, 4, 5]], 16, axis=0)
    model = encode(spec)
    assert np.ptp(model(x).numpy(), axis=0).max() < 1e-5
    spread = np.ptp(model(x, training=True).numpy(), axis=0).max()
    assert (spread > 1e-3) == (rate > 0)


def test_transformer_has_the_depth_and_heads_asked_for():
    spec = mm.Text(4, 9, backbone="Transformer", embedding=6, depth=2, heads=3)
    blocks = [layer for layer in text_backbone(spec, "x").layers if hasattr(layer, "heads")]
    assert [block.heads for block in blocks] == [3, 3]


def test_called_again_an_encoder_shares_its_weights():
    encoder = FeaturesEncoder(mm.Features(5), 4, "x")
    inputs = {name: keras.Input((5,), name=name) for name in "ab"}
    model = keras.Model(inputs, {name: encoder(x)[0] for name, x in inputs.items()})
    assert len(model.weights) == 2
