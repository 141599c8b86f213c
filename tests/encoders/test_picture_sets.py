"""Video and views: all pictures in one call give what a loop gives."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders import VideoEncoder, ViewsEncoder

SHAPE = (8, 8, 1)
COUNT = 3
WIDTH = 8


def encode(spec):
    encoder = (VideoEncoder if isinstance(spec, mm.Video) else ViewsEncoder)(spec, WIDTH, "x")
    inputs = keras.Input(spec.input_shape)
    model = keras.Model(inputs, encoder(inputs)[0])
    noise = np.random.default_rng(0)
    model.set_weights(
        [w + noise.uniform(0, 0.1, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    return encoder, model


def pictures(count=COUNT):
    return np.random.default_rng(1).uniform(0, 255, (2, count, *SHAPE)).astype("float32")


def project(encoder, features):
    """Applies the projection, `(…, C)` → `(B, positions, D)`, in NumPy."""
    weights = encoder.projection[0].get_weights()
    kernel, bias = weights[0].reshape(-1, WIDTH), weights[1]
    return np.maximum(features @ kernel + bias, 0).reshape(len(features), -1, WIDTH)


def frames_in_a_loop(encoder, x):
    model = encoder.backbone.model
    frames = [np.asarray(model(x[:, t] / 127.5 - 1)).mean(axis=(1, 2)) for t in range(x.shape[1])]
    return project(encoder, np.stack(frames, axis=1))


@pytest.mark.parametrize("temporal", [None, "mean"])
def test_frames_folded_into_the_batch_equal_a_loop(temporal):
    spec = mm.Video(COUNT, SHAPE, backbone="SmallCNN", temporal=temporal)
    encoder, model = encode(spec)
    x = pictures()
    expected = frames_in_a_loop(encoder, x)
    if temporal:
        expected = expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(model(x), expected, atol=1e-4)


@pytest.mark.parametrize("temporal", ["mean", "gru", "attention"])
def test_order_of_frames_matters_to_all_but_the_mean(temporal):
    _, model = encode(mm.Video(COUNT, SHAPE, backbone="SmallCNN", temporal=temporal))
    x = pictures()
    forwards, backwards = model(x).numpy(), model(x[:, ::-1].copy()).numpy()
    change = np.abs(forwards.mean(axis=1) - backwards.mean(axis=1)).max()
    assert (change > 1e-4) == (temporal != "mean")


def test_gru_looks_back_and_attention_both_ways():
    for temporal, both in (("gru", False), ("attention", True)):
        _, model = encode(mm.Video(COUNT, SHAPE, backbone="SmallCNN", temporal=temporal))
        x = pictures()
        changed = x.copy()
        changed[:, -1] = 255 - changed[:, -1]
        change = np.abs(model(x).numpy() - model(changed)).max(axis=(0, 2))
        assert change[-1] > 1e-4
        assert (change[0] > 1e-6) == both


def test_frames_share_one_batch_normalization_statistic():
    """A whole video normalises over all its frames at once, as one big batch does."""
    encoder, model = encode(mm.Video(COUNT, SHAPE, backbone="SmallCNN", temporal=None))
    x = pictures()
    found = model(x, training=True).numpy()
    backbone = encoder.backbone.model
    folded = np.asarray(backbone(x.reshape(-1, *SHAPE) / 127.5 - 1, training=True))
    expected = project(encoder, folded.mean(axis=(1, 2)).reshape(2, COUNT, -1))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_attention_needs_a_width_that_its_heads_divide():
    spec = mm.Video(COUNT, SHAPE, backbone="SmallCNN", temporal="attention")
    with pytest.raises(ValueError, match="`width` must be a multiple of 4 for temporal='attention"):
        mm.build_mcnn({"video": spec}, 2, width=6)


@pytest.mark.parametrize("backbone", ["vectors", "sequences"])
@pytest.mark.parametrize("cls", [mm.Video, mm.Views])
def test_ones_own_model_may_return_vectors_or_sequences(cls, backbone):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Reshape((4, 16))(inputs)
    if backbone == "vectors":
        x = keras.layers.Flatten()(x)
    options = {"temporal": None} if cls is mm.Video else {}
    encoder, model = encode(cls(COUNT, SHAPE, backbone=keras.Model(inputs, x), **options))
    x = pictures()
    expected = project(
        encoder, x.reshape(2, COUNT, *model.get_layer("x_backbone").output_shape[1:])
    )
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-3)


def test_views_through_one_backbone_equal_a_loop():
    encoder, model = encode(mm.Views(COUNT, SHAPE, backbone="SmallCNN"))
    x = pictures()
    maps = [np.asarray(encoder.backbone.model(x[:, v] / 127.5 - 1)) for v in range(COUNT)]
    np.testing.assert_allclose(model(x), project(encoder, np.stack(maps, axis=1)), atol=1e-4)


def test_weights_of_a_shared_backbone_do_not_depend_on_the_number_of_views():
    sizes = [
        encode(mm.Views(count, SHAPE, backbone="SmallCNN"))[1].count_params() for count in (1, 4)
    ]
    assert sizes[0] == sizes[1]


def test_views_with_a_backbone_each_equal_a_loop():
    spec = mm.Views(COUNT, SHAPE, backbone="SmallCNN", shared=False)
    encoder, model = encode(spec)
    backbones = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert len(backbones) == COUNT
    assert len({id(w) for b in backbones for w in b.weights}) == sum(
        len(b.weights) for b in backbones
    )
    x = pictures()
    maps = [
        np.asarray(model.get_layer(f"x_backbone{suffix}")(x[:, v] / 127.5 - 1))
        for v, suffix in enumerate(["", "_1", "_2"])
    ]
    expected = project(encoder, np.stack(maps, axis=1))
    np.testing.assert_allclose(model(x), expected, atol=1e-4)
    assert np.abs(expected[:, :4] - expected[:, 4:8]).max() > 1e-3
