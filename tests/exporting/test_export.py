"""`mm.export`: what is written loads again, and gives what the model gave."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.exporting import FORMATS, UnsupportedError

SERVE = """
import json, sys
import numpy as np, tensorflow as tf
inputs = {name: tf.constant(value) for name, value in np.load(sys.argv[2]).items()}
served = tf.saved_model.load(sys.argv[1])  # `serve` alone would not keep its variables
outputs = served.serve(inputs)
assert "mm_keras" not in sys.modules, "TensorFlow alone must do"
print(json.dumps({name: value.numpy().tolist() for name, value in outputs.items()}))
"""


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return mm.build_mcnn(
        {"a": mm.Features(4), "b": mm.Features((2, 3), optional=True)},
        3,
        width=8,
        modality_dropout=0.5,
        auxiliary_heads=True,
    )


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=(5, 4)).astype("float32"),
        "b": rng.normal(size=(5, 2, 3)).astype("float32"),
        "b_present": np.array([[True], [False], [True], [False], [True]]),
    }


def test_keras_file_holds_the_graph_that_ships(model, inputs, tmp_path):
    path = mm.export(model, tmp_path / "folder" / "model.keras", format="keras", check=False)
    loaded = keras.models.load_model(path)
    assert list(loaded.output) == ["label"]
    expected = model.predict(inputs, verbose=0)["label"]
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0)["label"], expected)


@pytest.mark.slow
def test_saved_model_serves_without_keras(model, inputs, tmp_path):
    path = mm.export(model, tmp_path / "served", check=False)
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(path), str(tmp_path / "inputs.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    served = json.loads(done.stdout.splitlines()[-1])
    assert list(served) == ["label"]
    expected = model.predict(inputs, verbose=0)["label"]
    np.testing.assert_allclose(served["label"], expected, atol=1e-5)


def test_replaces_what_stood_there(model, tmp_path):
    for _ in range(2):
        mm.export(model, tmp_path / "served", check=False)
        mm.export(model, tmp_path / "model.keras", format="keras", check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "served"]


def test_a_failed_export_leaves_the_earlier_file(model, tmp_path, monkeypatch):
    path = mm.export(model, tmp_path / "model.keras", format="keras", check=False)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        mm.export(model, path, format="keras", check=False)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("model.keras", "sevad_model", "`format` must be one of .*'saved_model'"),
        ("model", "keras", r"`path` must end in '.keras'"),
        ("model.keras", "saved_model", r"`path` must be a folder"),
        ("model.tflite", "saved_model", r"`path` must be a folder"),
        ("model.keras", "litert", r"`path` must end in '.tflite'"),
        ("model", "onnx", r"`path` must end in '.onnx'"),
    ],
)
def test_errors(model, tmp_path, path, format, message):
    with pytest.raises(ValueError, match=message):
        mm.export(model, tmp_path / path, format=format)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "tf2onnx"])
def test_onnx_is_an_extra(model, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)  # importing it raises
    with pytest.raises(ImportError, match=rf"library '{library}': pip install 'mm_keras\[onnx\]'"):
        mm.export(model, tmp_path / "model.onnx", format="onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "suffix", "operation"),
    [("litert", ".tflite", "BitwiseAnd"), ("onnx", ".onnx", "Bitcast")],
)
def test_what_a_format_lacks_is_named(tmp_path, format, suffix, operation):
    inputs = keras.Input((3,), name="x")
    model = keras.Model({"x": inputs}, {"y": keras.ops.argmax(inputs, axis=-1)}, name="pick")
    path = tmp_path / f"model{suffix}"
    path.write_text("earlier")
    with pytest.raises(UnsupportedError, match=rf"lacks .*'tf.{operation}'.*, at \['pick.*/"):
        mm.export(model, path, format=format)
    assert path.read_text() == "earlier"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_what_is_no_functional_model(tmp_path):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    for given in (Subclassed(), "model", keras.layers.Dense(1)):
        with pytest.raises(TypeError, match=r"`model` must be a functional keras.Model"):
            mm.export(given, tmp_path / "model.tflite", format="litert")
    assert not any(tmp_path.iterdir())


def test_where_nothing_can_be_written(model, tmp_path, monkeypatch):
    """The error comes before any work."""

    def work(*args):
        raise AssertionError("work")

    for name, chosen in FORMATS.items():
        monkeypatch.setitem(FORMATS, name, chosen._replace(write=work))
    (tmp_path / "file").touch()
    for name, chosen in FORMATS.items():
        with pytest.raises(OSError, match=r"`path` must be where files can be written. Received"):
            mm.export(model, tmp_path / "file" / f"model{chosen.suffix}", format=name)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"one with saved_model.pb, which is replaced"):
        mm.export(model, tmp_path)
