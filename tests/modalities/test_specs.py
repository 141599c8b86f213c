"""Every spec: frozen, serialisable, equal after a round trip, and strict about its arguments."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders import ENCODERS

COMMON = {
    "optional": True,
    "trainable": False,
    "activation": None,
    "normalization": "layer",
    "dropout": 0.1,
    "l2": 0.01,
}
SMALL = {"backbone": "SmallCNN", "stochastic_depth": 0.1, "rematerialize": True}
PIXELS = {"backbone": "VGG16", "weights": None, "preprocessing": "tf"}

# id: (class, arguments as YAML gives them, shape of a sample). Of each class, the entries together
# set every field to something other than its default.
SPECS = {
    "image": (mm.Image, {"shape": [8, 9, 3], **COMMON, **SMALL}, (8, 9, 3)),
    "image_vgg": (mm.Image, {"shape": [32, 32, 1], **PIXELS}, (32, 32, 1)),
    "audio": (
        mm.Audio,
        {"samples": 4000, "sample_rate": 8000, **COMMON, **SMALL},
        (4000,),
    ),
    "audio_mel": (
        mm.Audio,
        {
            "samples": 4000,
            "sample_rate": 8000,
            "mel_bins": 32,
            "window": 0.05,
            "stride": 0.02,
            "min_freq": 30.0,
            "max_freq": 3000.0,
            "top_db": 60.0,
            **PIXELS,
        },
        (4000,),
    ),
    "text": (
        mm.Text,
        {
            "max_tokens": 5,
            "vocabulary_size": 9,
            "backbone": "Transformer",
            "embedding": 6,
            "depth": 2,
            "heads": 3,
            "kernel_size": 5,
            "stochastic_depth": 0.1,
            "split": "character",
            "standardize": None,
            "vocabulary": ["a", "b"],
            **COMMON,
        },
        (5,),
    ),
    "video": (
        mm.Video,
        {"frames": 3, "shape": [8, 8, 1], "temporal": "gru", **COMMON, **SMALL},
        (3, 8, 8, 1),
    ),
    "video_vgg": (mm.Video, {"frames": 3, "shape": [32, 32, 1], **PIXELS}, (3, 32, 32, 1)),
    "views": (mm.Views, {"count": 4, "shape": [8, 8, 1], **COMMON, **SMALL}, (4, 8, 8, 1)),
    "views_own": (
        mm.Views,
        {"count": 2, "shape": [32, 32, 1], "shared": False, "optional_views": True, **PIXELS},
        (2, 32, 32, 1),
    ),
    "tabular": (
        mm.Tabular,
        {
            "numeric": ["age"],
            "categorical": {"city": ["Rome", "Oslo"], "job": None},
            "wide": [["city", "job"]],
            "wide_buckets": 10,
            "wide_width": 3,
            "deep": [4, 2],
            "embedding": 5,
            "mean": [1.5],
            "variance": [2.0],
            "normalize": False,
            **COMMON,
        },
        (4,),
    ),
    "features": (mm.Features, {"shape": 7, **COMMON}, (7,)),
    "features_sequence": (mm.Features, {"shape": [3, 7]}, (3, 7)),
}


def make(name):
    cls, arguments, _ = SPECS[name]
    return cls(**arguments)


def is_frozen_deeply(value):
    if isinstance(value, tuple):
        return all(is_frozen_deeply(item) for item in value)
    if isinstance(value, dict):
        return all(is_frozen_deeply(item) for item in value.values())
    return not isinstance(value, list)


@pytest.mark.parametrize("cls", ENCODERS)
def test_table_sets_every_field_of_every_spec(cls):
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    changed = {
        name
        for kind, arguments, _ in SPECS.values()
        if kind is cls
        for name, value in arguments.items()
        if value != defaults[name]
    }
    assert changed == set(defaults)


@pytest.mark.parametrize("name", SPECS)
def test_round_trip(name):
    spec = make(name)
    config = json.loads(json.dumps(spec.get_config()))
    restored = type(spec).from_config(config)
    assert restored == spec
    assert all(is_frozen_deeply(value) for value in vars(restored).values())
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(spec)))
    assert serialized["registered_name"] == f"mm_keras>{type(spec).__name__}"
    assert keras.saving.deserialize_keras_object(serialized) == spec


@pytest.mark.parametrize("name", SPECS)
def test_arguments_are_kept_with_lists_as_tuples(name):
    spec = make(name)
    for argument, value in SPECS[name][1].items():
        kept = getattr(spec, argument)
        assert is_frozen_deeply(kept)
        assert json.dumps(kept) == json.dumps(value)


@pytest.mark.parametrize("name", SPECS)
def test_input_shape(name):
    assert make(name).input_shape == SPECS[name][2]


@pytest.mark.parametrize("name", SPECS)
def test_specs_are_frozen(name):
    spec = make(name)
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


def test_specs_that_differ_are_not_equal():
    assert mm.Features(3) != mm.Features(4)
    assert mm.Views(2, (8, 8, 1)) != mm.Video(2, (8, 8, 1))


def test_a_model_as_backbone_survives_serialisation_with_its_outline():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs), name="mine")
    spec = mm.Image((8, 8, 1), backbone=model)
    assert spec.outline() == mm.Image((8, 8, 1), backbone="model:mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(spec)))
    restored = keras.saving.deserialize_keras_object(config)
    assert [layer.name for layer in restored.backbone.layers] == [x.name for x in model.layers]
    assert restored.backbone.output_shape == model.output_shape
    assert restored.outline() == spec.outline()


def test_weights_may_be_a_path_object():
    spec = mm.Image((32, 32, 3), weights=pathlib.Path("a") / "b.weights.h5")
    assert spec.weights == str(pathlib.Path("a/b.weights.h5"))
    json.dumps(spec.get_config())


def test_fft_resolves_the_mel_bins_and_holds_a_frame():
    assert mm.Audio(8000, 8000).fft_length == 256  # 200 samples a frame, 64 bins
    assert mm.Audio(8000, 8000, mel_bins=128).fft_length == 512
    assert mm.Audio(16000, 16000, window=0.05).fft_length == 1024
    assert mm.Audio(16000, 16000).frame_length == 400
    assert mm.Audio(16000, 16000).frame_step == 160


IMAGE = (8, 8, 1)
ERRORS = [
    # what every modality has
    (lambda: mm.Features(3, optional=1), TypeError, "`optional` must be a bool.*optional=1"),
    (lambda: mm.Features(3, trainable=0), ValueError, "`trainable`.*at least 1.*trainable=0"),
    (lambda: mm.Features(3, trainable="no"), TypeError, "`trainable` must be an integer"),
    (
        lambda: mm.Features(3, normalization="batchnorm"),
        ValueError,
        r"`normalization` must be one of.*Did you mean 'batch'\?",
    ),
    (lambda: mm.Features(3, dropout=1.0), ValueError, r"`dropout`.*below 1.0.*dropout=1.0"),
    (lambda: mm.Features(3, dropout=True), TypeError, "`dropout` must be a number"),
    (lambda: mm.Features(3, l2=-1), ValueError, "`l2` must be at least 0.0.*l2=-1"),
    (lambda: mm.Features(3, l2=float("nan")), ValueError, "`l2` must be at least 0.0.*l2=nan"),
    (lambda: mm.Features(3, activation=abs), TypeError, "`activation` must be the name"),
    (lambda: mm.Features(3, activation="reluu"), ValueError, "reluu"),
    # what every 2-D backbone has
    (lambda: mm.Image(IMAGE, backbone=3), TypeError, "`backbone` must be the name.*backbone=3"),
    (lambda: mm.Image(IMAGE, weights=3), TypeError, "`weights` must be 'auto'.*weights=3"),
    (
        lambda: mm.Image(IMAGE, backbone=keras.Sequential(), weights="imagenet"),
        ValueError,
        "`weights` must be None for a backbone that is a keras.Model.*before it is passed",
    ),
    (
        lambda: mm.Image(IMAGE, preprocessing="Caffe2"),
        ValueError,
        r"`preprocessing` must be one of.*Did you mean 'caffe'\?",
    ),
    (
        lambda: mm.Image(IMAGE, backbone="SmallCNN", stochastic_depth=1.0),
        ValueError,
        "`stochastic_depth` must be at least 0.0 and below 1.0",
    ),
    (
        lambda: mm.Image(IMAGE, backbone="MobileNet", stochastic_depth=0.1),
        ValueError,
        "`stochastic_depth` must be 0 for a backbone other than 'SmallCNN'",
    ),
    # shapes
    (lambda: mm.Image((8, 8)), ValueError, r"`shape` must be \(H, W, C\).*shape=\(8, 8\)"),
    (lambda: mm.Image((8, 0, 1)), ValueError, "positive integers, without the batch axis"),
    (lambda: mm.Image((None, 8, 8, 1)), ValueError, "positive integers, without the batch axis"),
    (lambda: mm.Image(8), ValueError, r"`shape` must be \(H, W, C\).*shape=8"),
    (lambda: mm.Video(0, IMAGE), ValueError, "`frames`.*at least 1.*frames=0"),
    (lambda: mm.Video(2, (8, 8)), ValueError, r"`shape` must be \(H, W, C\)"),
    (
        lambda: mm.Video(2, IMAGE, temporal="lstm"),
        ValueError,
        r"`temporal` must be one of \[None, 'mean', 'gru', 'attention'\]",
    ),
    (lambda: mm.Views(1.5, IMAGE), TypeError, "`count` must be an integer.*count=1.5"),
    (lambda: mm.Views(2, (8,)), ValueError, r"`shape` must be \(H, W, C\)"),
    (lambda: mm.Views(2, IMAGE, shared=None), TypeError, "`shared` must be a bool"),
    (
        lambda: mm.Views(2, IMAGE, shared=False, backbone=keras.Sequential(name="mine")),
        ValueError,
        "`shared` must be True for a backbone that is a keras.Model.*'mine'",
    ),
    (lambda: mm.Features(0), ValueError, "`shape`.*at least 1"),
    (lambda: mm.Features((2, 0)), ValueError, r"`shape` must be \(N, W\)"),
    (lambda: mm.Features((1, 2, 3)), ValueError, r"`shape` must be \(W,\).*\(1, 2, 3\)"),
    (lambda: mm.Features("3"), TypeError, "`shape` must be an integer"),
    # sound
    (lambda: mm.Audio(0, 8000), ValueError, "`samples`.*at least 1"),
    (lambda: mm.Audio(8000, 8000.0), TypeError, "`sample_rate` must be an integer"),
    (lambda: mm.Audio(8000, 8000, mel_bins=0), ValueError, "`mel_bins`.*at least 1"),
    (lambda: mm.Audio(8000, 8000, window=0), ValueError, "`window` must be at least"),
    (lambda: mm.Audio(8000, 8000, stride="1"), TypeError, "`stride` must be a number"),
    (lambda: mm.Audio(8000, 8000, top_db=0), ValueError, "`top_db` must be at least"),
    (lambda: mm.Audio(8000, 8000, min_freq=4000), ValueError, "`min_freq`.*below 4000.0"),
    (
        lambda: mm.Audio(8000, 8000, max_freq=5000),
        ValueError,
        "`max_freq` must lie above min_freq=20.0 Hz and at most at half of sample_rate=8000 Hz",
    ),
    (lambda: mm.Audio(8000, 8000, max_freq=10), ValueError, "`max_freq` must lie above"),
    (
        lambda: mm.Audio(199, 8000),
        ValueError,
        r"`samples` must be at least one window of 200 samples \(0.025 s at 8000 Hz\)",
    ),
    # text
    (lambda: mm.Text(0, 9), ValueError, "`max_tokens`.*at least 1"),
    (lambda: mm.Text(4, 2), ValueError, "`vocabulary_size`.*at least 3"),
    (
        lambda: mm.Text(4, 9, backbone="transfomer"),
        ValueError,
        r"`backbone` must be one of.*Did you mean 'Transformer'\?",
    ),
    *(
        (lambda a=a: mm.Text(4, 9, **{a: 0}), ValueError, f"`{a}` must be an integer of at least 1")
        for a in ("embedding", "depth", "heads", "kernel_size")
    ),
    (
        lambda: mm.Text(4, 9, stochastic_depth=0.1),
        ValueError,
        "`stochastic_depth` must be 0 for a backbone other than 'Transformer'",
    ),
    (
        lambda: mm.Text(4, 9, backbone="Transformer", embedding=6),
        ValueError,
        "`embedding` must be a multiple of `heads`.*embedding=6, heads=4",
    ),
    (lambda: mm.Text(4, 9, split="word"), ValueError, "`split` must be one of"),
    (
        lambda: mm.Text(4, 9, standardize="lowercase"),
        ValueError,
        r"`standardize` must be one of.*Did you mean 'lower'\?",
    ),
    (
        lambda: mm.Text(4, 3, vocabulary=("a", "b")),
        ValueError,
        "`vocabulary` must have at most vocabulary_size - 2 = 1 tokens. Received: 2 tokens",
    ),
    (lambda: mm.Text(4, 9, vocabulary="abc"), TypeError, "`vocabulary` must be a tuple of tokens"),
    # tables
    (lambda: mm.Tabular(), ValueError, "must name at least one column together"),
    (lambda: mm.Tabular(numeric="age"), TypeError, "`numeric` must be a tuple of column names"),
    (lambda: mm.Tabular(categorical=("a",)), TypeError, "`categorical` must be {column: voc"),
    (
        lambda: mm.Tabular(categorical={"city": "Rome"}),
        TypeError,
        r"`categorical\['city'\]` must be a sequence of categories.*pass \('Rome',\)",
    ),
    (
        lambda: mm.Tabular(categorical={"city": ("Rome", "Oslo", "Rome")}),
        ValueError,
        r"`categorical\['city'\]` must not have a category twice.*\['Rome'\]",
    ),
    (
        lambda: mm.Tabular(numeric=("a", "b"), categorical={"a": ()}),
        ValueError,
        r"must not name a column twice. Received twice: \['a'\]",
    ),
    *(
        (
            lambda wide=wide: mm.Tabular(categorical={"a": (), "b": ()}, numeric=("n",), wide=wide),
            ValueError,
            r"`wide` must be tuples of two or more categorical columns out of \['a', 'b'\]",
        )
        for wide in [("a", "b"), (("a",),), (("a", "n"),), (("a", "c"),)]
    ),
    *(
        (lambda a=a: mm.Tabular(numeric=("n",), **{a: 0}), ValueError, f"`{a}` must be an integer")
        for a in ("wide_buckets", "wide_width", "embedding")
    ),
    (
        lambda: mm.Tabular(numeric=("n",), wide_buckets=2**24 + 1),
        ValueError,
        "`wide_buckets` must be at most 16777216, since rows are float32",
    ),
    (lambda: mm.Tabular(numeric=("n",), deep=64), TypeError, "`deep` must be a sequence of int"),
    (lambda: mm.Tabular(numeric=("n",), deep=(8, 0)), ValueError, "`deep`.*at least 1"),
    (
        lambda: mm.Tabular(numeric=("n",), mean=(1.0, 2.0)),
        ValueError,
        "`mean` must have one value for each of the 1 numeric columns",
    ),
    (lambda: mm.Tabular(numeric=("n",), variance=(1, 2)), ValueError, "`variance` must have one"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[m for *_, m in ERRORS])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_largest_number_of_buckets_is_exact_in_float32():
    largest = mm.Tabular(numeric=("n",), wide_buckets=2**24).wide_buckets
    assert int(np.float32(largest - 1)) == largest - 1
    assert int(np.float32(largest + 1)) != largest + 1
