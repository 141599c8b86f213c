"""`mm.compress.quantize`: smaller, as right as before, and honest about what stayed float."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress import flatbuffer
from mm_keras.datasets import av_digits

AUDIO = mm.Audio(
    6400, 8000, backbone="SmallCNN", mel_bins=32, stride=0.064, window=0.064, optional=True
)
PRESENT = {"image_present": np.array([[True]]), "audio_present": np.array([[True]])}


def arrays(split, data_dir):
    """Inputs with whole pixels, in which a third of either modality is absent, and labels."""
    inputs, labels = next(iter(av_digits(split, data_dir=data_dir).batch(2000)))
    inputs = {name: np.array(value) for name, value in inputs.items()}
    inputs["image"] = np.round(inputs["image"])
    rows = np.arange(len(labels))
    for number, name in enumerate(("image", "audio")):
        inputs[f"{name}_present"] = (rows % 6 != number).reshape(-1, 1)
        inputs[name][rows % 6 == number] = 0
    return inputs, np.array(labels)


@pytest.fixture(scope="module")
def data(digits_folder):
    return {split: arrays(split, digits_folder) for split in ("train", "test")}


@pytest.fixture(scope="module")
def representative(data):
    return tf.data.Dataset.from_tensor_slices(data["train"]).batch(16)


@pytest.fixture(scope="module")
def model(data):
    """A trained model of the embedded digits, either modality optional."""
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(
        {"image": mm.Image((8, 8, 1), backbone="SmallCNN", optional=True), "audio": AUDIO},
        10,
        width=32,
        fusion="gated",
        auxiliary_heads=True,
    )
    loss = mm.losses.classification()
    model.compile(
        keras.optimizers.Adam(3e-3),
        dict.fromkeys(model.output, loss),
        jit_compile=False,
    )
    inputs, labels = data["train"]
    inputs = {name: value[:1600] for name, value in inputs.items()}
    labels = dict.fromkeys(model.output, labels[:1600])
    model.fit(inputs, labels, epochs=4, batch_size=32, verbose=0)
    return model


@pytest.fixture(scope="module")
def expected(model, data):
    return model.predict(data["test"][0], verbose=0)["label"]


@pytest.fixture(scope="module")
def int8(model, representative):
    return mm.compress.quantize(model, representative=representative)


def agreement(probabilities, expected):
    return np.mean(probabilities.argmax(-1) == expected.argmax(-1))


def size_of(model, folder):
    mm.inference_model(model).save(folder / "model.keras")
    return (folder / "model.keras").stat().st_size


def test_int8_is_small_and_as_accurate(int8, data, expected, tmp_path, model):
    inputs, labels = data["test"]
    predicted = int8.predict(inputs)
    assert list(predicted) == ["label"]
    accuracies = [np.mean(p.argmax(-1) == labels) for p in (expected, predicted["label"])]
    assert accuracies[0] > 0.6, "the model must have learnt"
    assert accuracies[1] > accuracies[0] - 0.02
    assert agreement(predicted["label"], expected) > 0.95
    assert len(int8.content) < 0.35 * size_of(model, tmp_path)


def test_int8_takes_pixels_as_uint8_and_any_batch(int8, data):
    inputs, _ = data["test"]
    assert {name: info.dtype for name, info in int8.inputs.items()} == {
        "audio": "float32",
        "audio_present": "bool",
        "image": "uint8",
        "image_present": "bool",
    }
    one, many = (int8.predict(inputs, batch_size=size)["label"] for size in (1, 32))
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_convolutions_compute_in_8_bits_and_spectrograms_do_not(int8):
    kinds = {
        operator.kind: operator.tensor.type
        for operator in flatbuffer.operators(flatbuffer.read(int8.content))
    }
    assert kinds["CONV_2D"] == flatbuffer.schema.TensorType.INT8
    assert kinds["LOG"] == flatbuffer.FLOAT
    listed = {entry.kind: entry for entry in int8.stayed_float}
    assert "audio_spectrogram" in listed["LOG"].name
    assert listed["LOG"].reason == "the powers of a sound span more than 8 bits hold"
    assert "CONV_2D" not in listed


def test_spectrograms_in_8_bits_would_ruin_the_answers(model, representative, data, expected):
    deaf = mm.compress.quantize(model, representative=representative, keep_float=())
    assert agreement(deaf.predict(data["test"][0])["label"], expected) < 0.9


def test_what_is_named_is_kept_besides_spectrograms_and_calibration(model, representative, data):
    inputs, labels = data["test"]
    held_out = {name: value[1600:] for name, value in data["train"][0].items()}
    calibrated = mm.evaluate.calibrate(
        mm.inference_model(model), (held_out, data["train"][1][1600:])
    )
    small = mm.compress.quantize(
        calibrated, representative=representative, keep_float=["image_projection"]
    )
    exact, found = calibrated.predict(inputs, verbose=0)["label"], small.predict(inputs)["label"]
    assert agreement(found, exact) > 0.95
    exact, found = (mm.evaluate.calibration_metrics(labels, p) for p in (exact, found))
    assert found["NLL"] < exact["NLL"] + 0.03
    assert found["ECE"] < exact["ECE"] + 0.03
    reasons = {entry.reason for entry in small.stayed_float}
    assert "the powers of a sound span more than 8 bits hold" in reasons
    assert "named in keep_float" in reasons


@pytest.mark.parametrize("name", ["image", "audio"])
def test_an_absent_modality_has_no_effect_on_int8(int8, data, name):
    inputs, _ = data["test"]
    inputs = {key: value[:24].copy() for key, value in inputs.items()}
    inputs["image_present"][:] = inputs["audio_present"][:] = True
    inputs[f"{name}_present"][:] = False
    before = int8.predict(inputs)["label"]
    inputs[name] = np.roll(inputs[name], 1, axis=0)
    if name == "audio":
        inputs[name][0] = np.nan
    np.testing.assert_array_equal(int8.predict(inputs)["label"], before)
    inputs[f"{name}_present"][:] = True
    inputs[name] = np.nan_to_num(inputs[name])
    assert np.abs(int8.predict(inputs)["label"] - before).max() > 0.1, "present, it has"


def test_every_presence_pattern_answers_as_the_model_does(int8, model, data):
    inputs, _ = data["test"]
    inputs = {key: value[:32].copy() for key, value in inputs.items()}
    for pattern in itertools.product([True, False], repeat=2):
        inputs["image_present"][:], inputs["audio_present"][:] = pattern
        expected = model.predict(inputs, verbose=0)["label"]
        predicted = int8.predict(inputs)["label"]
        assert np.abs(predicted - expected).mean() < 0.01, pattern


@pytest.mark.parametrize(
    ("mode", "share", "agrees"), [("dynamic", 0.4, 0.95), ("float16", 0.65, 0.99)]
)
def test_modes_without_samples(model, data, expected, tmp_path, mode, share, agrees):
    small = mm.compress.quantize(model, mode)
    assert len(small.content) < share * size_of(model, tmp_path)
    assert agreement(small.predict(data["test"][0])["label"], expected) > agrees
    assert small.inputs["image"].dtype == "float32", "nothing says that pixels are whole numbers"
    reasons = {entry.kind: entry.reason for entry in small.stayed_float if "spectro" in entry.name}
    expected_reasons = {"FULLY_CONNECTED": "the powers of a sound span more than 8 bits hold"}
    assert reasons == (expected_reasons if mode == "dynamic" else {})


LOAD = """
import json, sys
import numpy as np
import mm_keras as mm
small = mm.load(sys.argv[1])
inputs = dict(np.load(sys.argv[2]))
print(json.dumps(small.predict(inputs)["label"].tolist()))
"""


def test_saved_and_loaded_in_a_fresh_process(int8, data, tmp_path):
    inputs = {name: value[:8] for name, value in data["test"][0].items()}
    path = int8.save(tmp_path / "small.tflite")
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), str(tmp_path / "inputs.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = np.array(json.loads(done.stdout.splitlines()[-1]), "float32")
    np.testing.assert_array_equal(loaded, int8.predict(inputs)["label"])


# What follows needs no training.


@pytest.fixture(scope="module")
def plain():
    """A model made by hand: a Sequential's convolutions inside, two outputs, inputs no dict."""
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 3), name="picture")
    numbers = keras.Input((4,), name="numbers")
    tower = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3, activation="relu", name="inner")],
        name="tower",
    )
    pooled = keras.layers.GlobalAveragePooling2D()(tower(picture))
    joined = keras.layers.Concatenate()(
        [pooled, keras.layers.Dense(8, name="dense_numbers")(numbers)]
    )
    outputs = [
        keras.layers.Dense(2, name="first")(joined),
        keras.layers.Dense(3, name="second")(joined),
    ]
    return keras.Model([picture, numbers], outputs)


@pytest.fixture(scope="module")
def plain_inputs():
    rng = np.random.default_rng(0)
    return {
        "picture": rng.integers(0, 256, (40, 8, 8, 3)).astype("float32"),
        "numbers": rng.normal(size=(40, 4)).astype("float32"),
    }


def batches(inputs):
    return tf.data.Dataset.from_tensor_slices(inputs).batch(8)


@pytest.mark.parametrize("mode", ["int8", "16x8"])
def test_any_functional_model(plain, plain_inputs, mode):
    small = mm.compress.quantize(
        plain, mode, representative=batches(plain_inputs), uint8=["picture"]
    )
    assert small.inputs["picture"].dtype == "uint8"
    expected = dict(
        zip(plain.output_names, plain.predict(plain_inputs.copy(), verbose=0), strict=True)
    )
    predicted = small.predict(plain_inputs)
    assert sorted(predicted) == sorted(expected)
    tolerance = {"int8": 0.03, "16x8": 0.01}[mode]
    for name, value in expected.items():
        assert np.abs(predicted[name] - value).max() < tolerance * np.abs(value).max()


def test_named_layers_stay_float(plain, plain_inputs):
    small = mm.compress.quantize(
        plain, representative=batches(plain_inputs), keep_float=["inner", "first"]
    )
    kinds = {entry.kind: entry.reason for entry in small.stayed_float}
    assert kinds == {"CONV_2D": "named in keep_float", "FULLY_CONNECTED": "named in keep_float"}
    (first,) = (entry.name for entry in small.stayed_float if entry.kind == "FULLY_CONNECTED")
    assert first == "first"


def test_ranges_that_are_not_finite_stay_float():
    """A maximum over positions fills those of absent samples with −inf, which has no scale."""
    model = mm.build_mcnn({"a": mm.Features((3, 4), optional=True)}, 2, width=8, pooling="max")
    rng = np.random.default_rng(0)
    inputs = {
        "a": rng.normal(size=(16, 3, 4)).astype("float32"),
        "a_present": np.arange(16).reshape(-1, 1) % 3 > 0,
    }
    small = mm.compress.quantize(model, representative=batches(inputs))
    assert "its range is not finite" in {entry.reason for entry in small.stayed_float}
    expected = model.predict(inputs, verbose=0)["label"]
    np.testing.assert_allclose(small.predict(inputs)["label"], expected, atol=0.03)


def test_divisions_stay_float():
    """In 8 bits a small divisor is 0, at which LiteRT stops."""
    numbers = keras.Input((4,), name="numbers")
    ratio = numbers / keras.ops.sum(keras.ops.square(numbers), axis=-1, keepdims=True)
    mixed = keras.layers.Dense(4)(ratio)
    model = keras.Model({"numbers": numbers}, {"mixed": mixed})
    rng = np.random.default_rng(0)
    inputs = {"numbers": rng.normal(size=(32, 4)).astype("float32")}
    inputs["numbers"][::4] *= 0.1
    small = mm.compress.quantize(model, representative=batches(inputs))
    reasons = {entry.kind: entry.reason for entry in small.stayed_float}
    assert reasons["DIV"].startswith("what it makes of numbers near 0")
    assert reasons["SUM"] == reasons["DIV"], "a divisor that has been rounded is of no use"
    expected = model.predict(inputs, verbose=0)["mixed"]
    error = np.abs(small.predict(inputs)["mixed"] - expected).max()
    assert error < 0.03 * np.abs(expected).max()
    bare = keras.Model({"numbers": numbers}, {"ratio": ratio})
    with pytest.raises(ValueError, match="`model` must have an operator that can be quantized"):
        mm.compress.quantize(bare, representative=batches(inputs))


def test_nan_of_absent_samples_does_not_reach_the_ranges():
    model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3, optional=True)}, 2, width=8)
    rng = np.random.default_rng(0)
    inputs = {
        "a": rng.normal(size=(16, 4)).astype("float32"),
        "b": rng.normal(size=(16, 3)).astype("float32"),
        "b_present": np.arange(16).reshape(-1, 1) % 2 == 0,
    }
    inputs["b"][1] = np.nan
    small = mm.compress.quantize(model, representative=batches(inputs))
    expected = model.predict(inputs, verbose=0)["label"]
    np.testing.assert_allclose(small.predict(inputs)["label"], expected, atol=0.03)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def without(inputs, *names):
    return {name: value for name, value in inputs.items() if name not in names}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "int4"}, ValueError, r"`mode` must be one of .* Did you mean 'int8'\?"),
        ({}, ValueError, r"`representative` must be given for mode='int8'"),
        ({"representative": {}}, TypeError, r"must be a tf.data.Dataset .* type dict"),
        ({"samples": 0}, ValueError, r"`samples` must be an integer of at least 1"),
        ({"keep_float": "second"}, TypeError, r"`keep_float` must be a sequence of layers' names"),
        ({"keep_float": ["secon"]}, ValueError, r"Did you mean 'second'\?"),
        ({"keep_float": ["second"], "mode": "float16"}, ValueError, r"but with mode='int8'"),
        ({"uint8": "picture", "mode": "float16"}, TypeError, r"`uint8` must be a sequence"),
        ({"uint8": ["image"], "mode": "float16"}, ValueError, r"`uint8` must be one of"),
    ],
)
def test_bad_arguments(plain, options, error, message):
    with pytest.raises(error, match=message):
        mm.compress.quantize(plain, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: without(x, "numbers"), r"Received: \['picture'\], without 'numbers'"),
        (
            lambda x: without(x, "numbers") | {"number": x["numbers"]},
            r"Did you mean 'number'\? .* without 'numbers'",
        ),
        (
            lambda x: x | {"picture": x["picture"][:, :4]},
            r"'picture' in batches of shape \('B', 8, 8, 3\)\. Received: \(None, 4, 8, 3\)",
        ),
        (lambda x: x | {"numbers": x["numbers"] * np.nan}, r"finite numbers.*'numbers'"),
        (lambda x: {name: value[:0] for name, value in x.items()}, r"at least one sample"),
    ],
)
def test_bad_representative_samples(plain, plain_inputs, change, message, monkeypatch):
    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", None)  # before any work
    with pytest.raises(ValueError, match=message):
        mm.compress.quantize(plain, representative=batches(change(plain_inputs)))


def test_other_bad_representative_samples(plain, plain_inputs):
    unbatched = tf.data.Dataset.from_tensor_slices(plain_inputs)
    with pytest.raises(ValueError, match=r"in batches of shape .* Received: \(4,\)"):
        mm.compress.quantize(plain, representative=unbatched)
    with pytest.raises(ValueError, match=r"`representative` must give inputs as a dict"):
        mm.compress.quantize(plain, representative=batches(plain_inputs["picture"]))
    halves = plain_inputs | {"picture": plain_inputs["picture"] + 0.5}
    with pytest.raises(ValueError, match=r"whole numbers in 0…255\. Received: 'picture'"):
        mm.compress.quantize(plain, representative=batches(halves), uint8=["picture"])


def test_models_that_cannot_be_quantized(model):
    with pytest.raises(ValueError, match=r"`model` must be functional"):
        mm.compress.quantize(Subclassed(), "float16")
    with pytest.raises(TypeError, match=r"`model` must be a functional keras.Model"):
        mm.compress.quantize("model.keras", "float16")
    with pytest.raises(ValueError, match=r"spectrograms, \['audio_spectrogram'.*keep_float=\(\)"):
        mm.compress.quantize(model, "16x8")


def test_an_operation_that_litert_lacks_is_named():
    text = keras.Input((), dtype="string", name="text")
    hashed = keras.layers.Hashing(8, name="hashing")(text)
    model = keras.Model({"text": text}, {"label": keras.layers.Embedding(8, 2)(hashed)})
    with pytest.raises(
        mm.exporting.UnsupportedError, match=r"'litert' lacks .*StringToHash.*hashing"
    ):
        mm.compress.quantize(model, "dynamic")
