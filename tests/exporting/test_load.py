"""`mm.load`: whatever was exported comes back; no code of a file runs."""

import json
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.exporting import ExportedModel, LiteRTModel, ONNXModel, SavedModel
from tests.exporting.conftest import SUFFIXES

KINDS = {
    "keras": keras.Model,
    "saved_model": SavedModel,
    "litert": LiteRTModel,
    "onnx": ONNXModel,
}


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
def test_kinds_names_and_errors_of_each_format(trio, trio_files, format):
    loaded = mm.load(str(trio_files[format]))
    assert isinstance(loaded, KINDS[format])
    if format == "keras":
        return
    assert isinstance(loaded, ExportedModel)
    assert list(loaded.inputs) == sorted(trio.input)
    assert loaded.inputs["image"].shape == (None, 12, 10, 3)
    assert loaded.inputs["text_present"].dtype == "bool"
    assert loaded.outputs["label"].shape[-1] == 3
    with pytest.raises(ValueError, match=r"`inputs` must have arrays for .*'image_present'"):
        loaded.predict({"image": np.zeros((2, 12, 10, 3))})


@pytest.mark.slow
def test_models_without_names_get_those_of_their_layers(tmp_path):
    keras.utils.set_random_seed(0)
    left, right = keras.Input((3,), name="left"), keras.Input((4,), name="right")
    both = keras.layers.Concatenate()([left, right])
    outputs = [keras.layers.Dense(2, name="small")(both), keras.layers.Dense(5, name="big")(both)]
    model = keras.Model([left, right], outputs)
    inputs = {"left": np.ones((3, 3), "float32"), "right": np.ones((3, 4), "float32")}
    expected = model.predict(list(inputs.values()), verbose=0)
    for format in ("saved_model", "litert", "onnx"):
        path = mm.export(
            model, tmp_path / f"m{SUFFIXES[format]}", format, check=format != "saved_model"
        )
        found = mm.load(path).predict(inputs)
        for name, value in zip(["small", "big"], expected, strict=True):
            np.testing.assert_allclose(found[name], value, atol=1e-5)


def malicious(path, evidence):
    """Writes a `.keras` file that would make a file if its code ran."""
    target = os.fspath(evidence)
    inputs = keras.Input((2,), name="x")
    layer = keras.layers.Lambda(lambda x: (open(target, "w").close(), x)[1], name="innocent")
    keras.Model(inputs, layer(inputs)).save(path)
    evidence.unlink()  # building it ran it here


def test_code_in_a_keras_file_does_not_run(tmp_path):
    path, evidence = tmp_path / "m.keras", tmp_path / "evidence"
    malicious(path, evidence)

    def refused():
        with pytest.raises(ValueError, match=r"without code of its own.*\['__lambda__'\]"):
            mm.load(path)
        assert not evidence.exists()

    def refused_although_unsafe():
        keras.config.enable_unsafe_deserialization()
        refused()
        keras.saving.load_model(path)
        assert evidence.exists(), "the file is as dangerous as it is meant to be"

    refused()
    with ThreadPoolExecutor(1) as pool:  # the setting is that of a thread, and ends with it
        pool.submit(refused_although_unsafe).result()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("subprocess", "run")]
)
def test_a_keras_file_names_no_function_of_python(tmp_path, module, name):
    inputs = keras.Input((2,), name="x")
    model = keras.Model(inputs, keras.layers.Activation("relu", name="act")(inputs))
    model.save(tmp_path / "good.keras")
    with (
        zipfile.ZipFile(tmp_path / "good.keras") as good,
        zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad,
    ):
        for entry in good.namelist():
            content = good.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][1]
                layer["config"]["activation"] = {
                    "module": module,
                    "class_name": "function",
                    "config": name,
                    "registered_name": "function",
                }
                content = json.dumps(config)
            bad.writestr(entry, content)
    with pytest.raises(ValueError, match=r"`path` must be a .keras file"):
        mm.load(tmp_path / "bad.keras")


def test_lambda_layers_are_refused_when_written(tmp_path):
    inputs = keras.Input((2,), name="x")
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x, name="twice")(inputs))
    with pytest.raises(ValueError, match=r"no Lambda layers for format='keras'.*\['twice'\]"):
        mm.export(model, tmp_path / "m.keras", format="keras")
    path = mm.export(model, tmp_path / "m.tflite", format="litert")  # a graph holds no code
    np.testing.assert_array_equal(
        list(mm.load(path).predict({"x": [[1.0, 2]]}).values()), [[[2, 4]]]
    )


def test_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("m.onnx", "m.tflite", "m.keras", "m.h5"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(FileNotFoundError, match="`path` must name a file or folder"):
        mm.load(tmp_path / "nowhere.keras")
    with pytest.raises(ValueError, match=r"folder of a SavedModel, with a file saved_model.pb"):
        mm.load(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"`path` must be an ONNX model"):
        mm.load(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"`source` must be a LiteRT model"):
        mm.load(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match=r"`path` must be a .keras file"):
        mm.load(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"`path, by its ending,` must be one of .*'.tflite'"):
        mm.load(tmp_path / "m.h5")


EXPORT_FOREVER = """
import sys, itertools
import mm_keras as mm
model = mm.build_mcnn({"a": mm.Features(3), "b": mm.Features(2)}, {"y": mm.Regression(1)}, width=4)
for generation in itertools.count():
    for weight in model.weights:
        weight.assign(weight * 0 + generation)
    mm.export(model, sys.argv[1] + "/m", check=False)
    mm.export(model, sys.argv[1] + "/m.tflite", format="litert", check=False)
    if generation == 1:
        print("ready", flush=True)
"""


@pytest.mark.slow
def test_a_killed_export_leaves_the_earlier_model_whole(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", EXPORT_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as exporter:
        assert exporter.stdout.readline() == "ready\n"
        leftovers = []
        while not leftovers:  # until one is being written
            time.sleep(0.001)
            leftovers = list(tmp_path.glob(".m*"))
        exporter.kill()
    assert exporter.returncode == -9
    assert list(tmp_path.glob(".m*")), "it was killed within an export"
    inputs = {"a": np.ones((1, 3), "float32"), "b": np.ones((1, 2), "float32")}
    for name in ("m", "m.tflite"):
        value = mm.load(tmp_path / name).predict(inputs)["y"].item()
        # Of generation g: projections of 3 and of 2 features to 4, then of 8 to 1.
        fits = [g for g in range(1, 100) if np.isclose(value, g * (4 * 4 * g + 4 * 3 * g) + g)]
        assert len(fits) == 1, value
