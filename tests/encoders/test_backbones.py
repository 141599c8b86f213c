"""Backbones: the table of keras.applications, weights, freezing, and any keras.Model."""

import http.client
import inspect
import socket
import urllib.error

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders.backbones import (
    APPLICATIONS,
    BACKBONES,
    adopt,
    pixel_backbone,
    small_cnn,
)
from mm_keras.encoders.image import ImageEncoder
from mm_keras.layers import PixelPreprocessing


def module_of(name):
    """Returns the public module of keras.applications that this constructor belongs to."""
    home = getattr(keras.applications, name).__module__.rpartition(".")[2]
    return getattr(keras.applications, home)


def encode(spec, width=8, name="image"):
    """Returns an encoder and the model from its input to its features."""
    encoder = ImageEncoder(spec, width, name)
    inputs = keras.Input(spec.input_shape)
    features, mask = encoder(inputs)
    assert mask is None
    return encoder, keras.Model(inputs, features)


def pixels(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def tiny(name="mine", shape=(8, 8, 1)):
    """A backbone of five layers, two of them with batch statistics."""
    x = inputs = keras.Input(shape)
    for layer in range(2):
        x = keras.layers.Conv2D(4, 3, name=f"conv{layer}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{layer}")(x)
    return keras.Model(inputs, x, name=name)


# The table.


def test_table_has_every_constructor_of_keras_applications():
    constructors = {name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)}
    assert len(constructors) >= 40
    assert set(APPLICATIONS) == constructors
    assert set(BACKBONES) == {"SmallCNN", *constructors}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_preprocessing_is_that_of_the_module(name):
    x = pixels(2, 5, 6, 3)
    expected = module_of(name).preprocess_input(x.copy())
    found = PixelPreprocessing(APPLICATIONS[name].preprocessing)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_minimum_is_that_of_keras(name):
    below = APPLICATIONS[name].minimum - 1
    with pytest.raises(ValueError, match=f"at least {below + 1} ?x ?{below + 1}"):
        getattr(keras.applications, name)(
            include_top=False, weights=None, input_shape=(below + 1, below, 3)
        )
    spec = mm.Image((below + 1, below, 3), backbone=name, weights=None)
    with pytest.raises(
        ValueError, match=f"at least {below + 1}×{below + 1} pixels for {name}.*{below + 1}×{below}"
    ):
        mm.build_mcnn({"image": spec}, 2)


# What goes into a backbone and what comes out.


def test_features_are_the_projected_map_of_the_preprocessed_pixels():
    spec = mm.Image((32, 64, 3), backbone="MobileNet", weights=None, activation=None)
    encoder, model = encode(spec)
    x = pixels(2, 32, 64, 3)
    maps = encoder.backbone.model(keras.applications.mobilenet.preprocess_input(x.copy()))
    kernel, bias = encoder.projection[0].get_weights()
    expected = np.reshape(np.asarray(maps) @ kernel[0, 0] + bias, (2, 2, 8))  # N = 1 × 2
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_one_channel_is_replicated():
    gray = mm.Image((32, 32, 1), backbone="MobileNet", weights=None)
    encoder, model = encode(gray)
    assert encoder.backbone.model.input_shape == (None, 32, 32, 3)
    _, colour = encode(mm.Image((32, 32, 3), backbone="MobileNet", weights=None))
    colour.set_weights(model.get_weights())
    x = pixels(2, 32, 32, 1)
    np.testing.assert_allclose(model(x), colour(np.repeat(x, 3, axis=-1)), atol=1e-6)


def test_small_cnn_takes_any_number_of_channels_as_they_are():
    for channels in (1, 2, 4):
        encoder, _ = encode(mm.Image((8, 8, channels), backbone="SmallCNN"))
        assert encoder.backbone.model.input_shape == (None, 8, 8, channels)
        assert encoder.backbone.preprocessing == "tf"


@pytest.mark.parametrize(
    ("size", "positions"), [(4, 2 * 2), (7, 3 * 3), (8, 2 * 2), (32, 4 * 4), (33, 4 * 4)]
)
def test_small_cnn_pools_until_the_picture_is_small(size, positions):
    model = small_cnn((size, size, 1), "cnn")
    assert np.prod(model.output_shape[1:3]) == positions
    assert model.output_shape[-1] == 64


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "none"])
def test_preprocessing_of_ones_choice(mode):
    spec = mm.Image((8, 8, 3), backbone="SmallCNN", preprocessing=mode)
    assert pixel_backbone(spec, (8, 8, 3), "x").preprocessing == mode


ERRORS = [
    ("MobileNetv2", (32, 32, 3), {}, r"name of a model of keras.*Did you mean 'MobileNetV2'\?"),
    ("resnet", (32, 32, 3), {}, r"Did you mean 'ResNet\d+'\?"),
    ("qqqq", (32, 32, 3), {}, r"`backbone` must be.*keras.Model. Received: backbone='qqqq'"),
    ("MobileNet", (32, 32, 4), {}, "1 channel .* or 3 for MobileNet. Received: 4 channels"),
    ("SmallCNN", (4, 3, 1), {}, "at least 4×4 pixels for SmallCNN. Received: 4×3"),
    ("SmallCNN", (8, 8, 1), {"weights": "imagenet"}, "`weights` must be None or a file for"),
    ("model:mine", (8, 8, 1), {}, "'model:mine', which stands for a keras.Model.*again"),
]


@pytest.mark.parametrize(
    ("backbone", "shape", "options", "message"), ERRORS, ids=[error[-1] for error in ERRORS]
)
def test_errors(backbone, shape, options, message):
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn({"image": mm.Image(shape, backbone=backbone, **options)}, 2)


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"image_data_format.*'channels_last'"):
            mm.build_mcnn({"image": mm.Image((32, 32, 3), weights=None)}, 2)
    finally:
        keras.config.set_image_data_format("channels_last")


# Weights.


@pytest.mark.parametrize(
    ("weights", "passed"), [("auto", "imagenet"), ("imagenet", "imagenet"), (None, None)]
)
def test_weights_reach_keras(weights, passed, monkeypatch):
    calls = []

    def make(**arguments):
        calls.append(arguments)
        return tiny(shape=arguments["input_shape"])

    monkeypatch.setattr(keras.applications, "MobileNetV2", make)
    backbone = pixel_backbone(mm.Image((32, 32, 1), weights=weights), (32, 32, 1), "it")
    assert calls == [{"include_top": False, "weights": passed, "input_shape": (32, 32, 3)}]
    assert (backbone.model.name, backbone.preprocessing, backbone.replicate) == ("it", "tf", True)


@pytest.mark.parametrize(
    "refusal",
    [
        socket.gaierror(-2, "Name or service not known"),
        ConnectionRefusedError("refused"),
        TimeoutError("timed out"),
        http.client.RemoteDisconnected("closed"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_without_a_network_the_error_says_what_to_do(refusal, monkeypatch, tmp_path):
    """The exceptions are those that Keras's own download turns the socket's into."""

    def refuse(*args, **kwargs):
        raise refusal

    def make(**arguments):
        keras.utils.get_file("x.h5", "https://weights.invalid/x.h5", cache_dir=tmp_path)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(keras.applications, "MobileNetV2", make)
    with pytest.raises(
        OSError,
        match=r"weights of MobileNetV2 could not be downloaded.*weights=None.*weights='path/to/",
    ) as caught:
        mm.build_mcnn({"image": mm.Image((32, 32, 3))}, 2)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (urllib.error.URLError("none"), OSError),
        (http.client.IncompleteRead(b"x"), OSError),
        (ValueError("a mistake"), ValueError),
        (KeyError("another"), KeyError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_only_failed_downloads_are_reported_as_such(raised, becomes, monkeypatch):
    def make(**arguments):
        raise raised

    monkeypatch.setattr(keras.applications, "MobileNetV2", make)
    with pytest.raises(becomes) as caught:
        mm.build_mcnn({"image": mm.Image((32, 32, 3))}, 2)
    assert ("could not be downloaded" in str(caught.value)) == (becomes is OSError)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
@pytest.mark.parametrize("backbone", ["SmallCNN", "MobileNet"])
def test_local_weights_are_loaded(backbone, suffix, tmp_path):
    spec = mm.Image((32, 32, 3), backbone=backbone, weights=None)
    source = pixel_backbone(spec, spec.shape, "source").model
    noise = np.random.default_rng(0)
    source.set_weights([noise.uniform(size=w.shape) for w in source.get_weights()])
    path = tmp_path / f"local{suffix}"
    if suffix == ".h5":
        legacy_weights(source, path)
    else:
        source.save_weights(path)
    model = mm.build_mcnn(
        {"image": mm.Image((32, 32, 3), backbone=backbone, weights=path)}, 2
    ).get_layer("image_backbone")
    assert len(model.weights) == len(source.weights)
    for loaded, expected in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, expected)


def legacy_weights(model, path):
    """Writes a file as those of keras.applications are: layers in order, weights by name."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0"
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{index}_{weight.name}" for index, weight in enumerate(weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = np.asarray(weight)


def misfits(folder):
    tiny(shape=(8, 8, 2)).save_weights(folder / "shape.weights.h5")
    small_cnn((8, 8, 3), "x").save_weights(folder / "layers.weights.h5")
    (folder / "garbage.weights.h5").write_bytes(b"no HDF5")
    (folder / "wrong.bin").write_bytes(b"no HDF5")
    (folder / "folder.weights.h5").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.weights.h5", "an existing .weights.h5 or .h5 file. Received: .*missing"),
        ("folder.weights.h5", "an existing .weights.h5 or .h5 file. Received: .*folder"),
        ("shape.weights.h5", "fits 'image_backbone'.*shape.weights.h5.* could not be loaded"),
        ("layers.weights.h5", "fits 'image_backbone'.*layers.weights.h5.* could not be loaded"),
        ("garbage.weights.h5", "fits 'image_backbone'.*garbage.weights.h5.* could not be loaded"),
        ("wrong.bin", "fits 'image_backbone'.*wrong.bin.* could not be loaded"),
    ],
)
def test_weights_that_do_not_fit(name, message, tmp_path):
    misfits(tmp_path)
    spec = mm.Image((8, 8, 1), backbone="SmallCNN", weights=str(tmp_path / name))
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn({"image": spec}, 2)


# Freezing.


def fit_step(model, x):
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = {w.path: w.numpy() for w in model.weights}
    model.train_on_batch(x, np.ones((len(x), 2)))
    return {w.path for w in model.weights if not np.array_equal(w.numpy(), before[w.path])}


@pytest.mark.parametrize(
    ("trainable", "changed"),
    [
        (True, {"conv0", "norm0", "conv1", "norm1"}),
        (False, set()),
        (1, {"norm1"}),
        (2, {"conv1", "norm1"}),
        (3, {"norm0", "conv1", "norm1"}),
    ],
)
def test_only_what_is_trainable_changes(trainable, changed):
    backbone = tiny()
    spec = mm.Image((8, 8, 1), backbone=backbone, trainable=trainable, normalization="batch")
    model = mm.build_mcnn({"image": spec}, mm.Regression(2))
    moved = fit_step(model, {"image": pixels(4, 8, 8, 1)})
    for layer in backbone.layers:
        for weight in layer.weights:  # moving statistics too
            assert (weight.path in moved) == (layer.name in changed)
    projection = [*model.get_layer("image_projection").weights]
    projection += model.get_layer("image_normalization").weights
    assert {weight.path for weight in projection} <= moved


def test_frozen_layers_of_an_application_stay_bitwise():
    spec = mm.Image((32, 32, 3), backbone="MobileNet", weights=None, trainable=False)
    model = mm.build_mcnn({"image": spec}, mm.Regression(2), width=4)
    backbone = model.get_layer("image_backbone")
    moved = fit_step(model, {"image": pixels(2, 32, 32, 3)})
    assert len(model.trainable_weights) == 4  # projection and head
    assert "label_logits/bias" in moved
    assert not moved & {weight.path for weight in backbone.weights}


def test_more_layers_than_there_are():
    with pytest.raises(ValueError, match=r"at most the 5 layers of 'image_backbone'.*trainable=6"):
        mm.build_mcnn({"image": mm.Image((8, 8, 1), backbone=tiny(), trainable=6)}, 2)


# Any keras.Model.


def test_ones_own_model_keeps_its_name_and_shares_its_weights():
    mine = tiny()
    model = mm.build_mcnn({"image": mm.Image((8, 8, 1), backbone=mine)}, 2)
    assert mine.name == "mine"
    backbone = model.get_layer("image_backbone")
    assert [id(w) for w in backbone.weights] == [id(w) for w in mine.weights]


def test_ones_own_model_takes_pixels_as_they_are():
    inputs = keras.Input((8, 8, 1))
    mine = keras.Model(inputs, keras.layers.MaxPooling2D(8)(inputs))
    encoder, model = encode(mm.Image((8, 8, 1), backbone=mine, activation=None))
    x = pixels(3, 8, 8, 1)
    kernel, bias = encoder.projection[0].get_weights()
    expected = x.max(axis=(1, 2)) @ kernel[0, 0] + bias
    np.testing.assert_allclose(model(x)[:, 0], expected, rtol=1e-5)


def test_subclassed_and_sequential_models_serve_too():
    class Mean(keras.Model):
        def call(self, inputs):
            return keras.ops.mean(inputs, axis=(1, 2))

    mean = Mean()
    assert adopt(mean, "x") is mean
    sequential = keras.Sequential([keras.layers.GlobalAveragePooling2D()])
    x = pixels(2, 8, 8, 1)
    results = []
    for mine in (mean, sequential):
        keras.utils.set_random_seed(0)
        _, model = encode(mm.Image((8, 8, 1), backbone=mine))
        assert model.output_shape == (None, 1, 8)
        results.append(np.asarray(model(x)))
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 2, 2), ()])
def test_a_model_whose_features_have_no_such_shape(shape):
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Flatten()(inputs)
    outputs = (
        keras.layers.Reshape((4, 4, 2, 2))(outputs) if shape else keras.ops.sum(outputs, axis=1)
    )
    spec = mm.Image((8, 8, 1), backbone=keras.Model(inputs, outputs))
    with pytest.raises(ValueError, match=r"backbone of 'image' must return features \(B, C\),"):
        mm.build_mcnn({"image": spec}, 2)
