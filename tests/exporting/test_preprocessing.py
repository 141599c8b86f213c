"""Raw inputs: a written file does to real files what the data pipeline does."""

import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data.decode.pixels import image_decoder
from mm_keras.data.decode.sound import audio_decoder
from mm_keras.exporting.preprocessing import _stretched, raw_input
from tests.exporting.conftest import TEXTS

DATA = os.environ.get("MM_KERAS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="MM_KERAS_DATA is not set")

SERVE = """
import sys
for name in ("mm_keras", "keras_hub", "keras", "tf_keras"):
    sys.modules[name] = None  # importing it would raise
import numpy as np, tensorflow as tf
with np.load(sys.argv[2]) as arrays:
    x = {k: tf.constant(v.astype(object) if v.dtype.kind == "U" else v) for k, v in arrays.items()}
loaded = tf.saved_model.load(sys.argv[1])
np.savez(sys.argv[3], serve=loaded.serve(x)["label"],
         signature=loaded.signatures["serving_default"](**x)["label"])
"""


def _unpacked(archive, ending, folder):
    """Returns the paths of three files out of an archive."""
    with zipfile.ZipFile(pathlib.Path(DATA) / archive) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(ending))
        return [archive.extract(name, folder) for name in names[:3]]


@pytest.fixture(scope="module")
def real(trio, tmp_path_factory):
    """Returns raw inputs, read by other libraries, and those that the pipeline makes of files."""
    import soundfile
    from PIL import Image

    folder = tmp_path_factory.mktemp("real")
    pictures = _unpacked("fashion_products/images.zip", ".jpg", folder)
    sounds = _unpacked("fsdd/recordings.zip", ".wav", folder)
    specs = mm.modalities_of(trio)
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in sounds]
    longest = max(map(len, waveforms))
    present = {f"{name}_present": np.ones((3, 1), "bool") for name in specs}
    raw = {
        "image": np.stack([np.asarray(Image.open(path).convert("RGB")) for path in pictures]),
        "audio": np.stack([np.pad(sound, (0, longest - len(sound))) for sound in waveforms]),
        "text": np.array([*TEXTS[:2], "Something, UNHEARD of; red?"]),
        **present,
    }
    decode = image_decoder(specs["image"].shape, resize=True)
    hear = audio_decoder(specs["audio"], length="fit")
    prepared = {
        "image": np.stack([decode(path, None) for path in pictures]).astype("float32"),
        "audio": np.stack([hear(path, None) for path in sounds]),
        "text": specs["text"].vectorize(raw["text"]),
        **present,
    }
    assert raw["image"].dtype == "uint8"
    assert raw["image"].shape[1:] != prepared["image"].shape[1:]
    assert raw["audio"].shape != prepared["audio"].shape
    return raw, prepared


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
def test_raw_inputs_become_what_the_pipeline_makes_of_them(trio, raw_files, real, format):
    raw, prepared = real
    if format != "saved_model":
        raw = {**raw, "text": prepared["text"]}  # no strings
    found = mm.load(raw_files[format]).predict(raw, batch_size=2)["label"]
    expected = trio.predict(prepared, verbose=0)["label"]
    np.testing.assert_allclose(found, expected, atol=2e-4)  # decoders of JPEG differ by a level
    assert np.ptp(expected, axis=0).max() > 0.005, "samples differ by more"


@needs_data
@pytest.mark.slow
def test_tensorflow_alone_serves_strings_and_pictures(trio, raw_files, real, tmp_path):
    raw, prepared = real
    np.savez(tmp_path / "x.npz", **raw)
    done = subprocess.run(
        [
            *(sys.executable, "-c", SERVE),
            *(raw_files["saved_model"], tmp_path / "x.npz", tmp_path / "y.npz"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = trio.predict(prepared, verbose=0)["label"]
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_allclose(found["serve"], expected, atol=2e-4)
        np.testing.assert_allclose(found["signature"], expected, atol=2e-4)


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (40, 25), (12, 10), (1, 1)])
def test_stretching_by_arithmetic_is_that_of_the_pipeline(size):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype("uint8")
    expected = tf.image.resize(pixels, (12, 10), antialias=True)
    found = _stretched(tf.constant(pixels), 12, 10, True)
    assert np.abs(found - expected).max() <= 0.5 + 1e-3  # it is rounded
    assert np.mean(np.round(expected) == found) > 0.98  # halves may be rounded either way


@pytest.mark.parametrize("resize", [True, "pad", "crop"])
def test_pictures_of_sets_and_fits(resize):
    """Each of a set of views is fitted as a picture alone is."""
    from mm_keras.data.decode.pixels import fit_pixels

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 5, 1)).astype("uint8")
    spec = mm.Views(3, (6, 6, 1), backbone="SmallCNN")
    raw = raw_input("views", spec, resize, strings=True)
    assert raw.signature.shape.as_list() == [None, 3, None, None, 1]
    found = raw.prepare(tf.constant(pixels))
    assert found.shape == (2, 3, 6, 6, 1)
    for sample, view in np.ndindex(2, 3):
        alone = fit_pixels(tf.constant(pixels[sample, view]), 6, 6, resize)
        np.testing.assert_array_equal(found[sample, view], tf.cast(alone, tf.float32))


def test_what_is_taken_as_it_is():
    assert raw_input("x", mm.Features(3), True, strings=True) is None
    assert raw_input("text", mm.Text(4, 10), True, strings=True) is None  # no vocabulary
    assert raw_input("text", mm.Text(4, 10).adapt(TEXTS), True, strings=False) is None


def test_waveforms_are_cut_or_followed_by_silence():
    raw = raw_input("audio", mm.Audio(400, 8000), True, strings=True)
    for samples in (100, 400, 900):
        given = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype("float32")
        expected = np.zeros((2, 400), "float32")
        expected[:, :samples] = given[:, :400]
        np.testing.assert_array_equal(raw.prepare(tf.constant(given)), expected)


def test_errors(trio, tmp_path):
    with pytest.raises(ValueError, match=r"`preprocessing, for format='keras',` must be .*False"):
        mm.export(trio, tmp_path / "m.keras", format="keras", preprocessing=True)
    with pytest.raises(ValueError, match=r"`preprocessing, for format='litert',` .*'pad'"):
        mm.export(trio, tmp_path / "m.tflite", format="litert", preprocessing="pad")
    assert not any(tmp_path.iterdir())
