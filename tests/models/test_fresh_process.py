"""Every builder of the table, in fresh processes: `.keras` with mm_keras, other files without."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import mm_keras as mm
from tests.conformance import builder_cases

RUN = """
import json, pathlib, sys
import numpy as np
folder = pathlib.Path(sys.argv[1])
found = {}
for case in json.loads((folder / f"{kind}.json").read_text()):
    x = dict(np.load(folder / f"{case}_x.npz"))
    outputs = predict(str(folder / case), x)
    np.savez(folder / f"{case}_found.npz", **{k: np.asarray(v) for k, v in outputs.items()})
"""
KERAS = """
kind = "keras"
import keras, mm_keras
def predict(path, x):
    return keras.models.load_model(path + ".keras")(x, training=False)
"""
SAVED_MODEL = """
kind = "saved_model"
import sys
sys.modules["mm_keras"] = None  # importing it would raise
import tensorflow as tf
def predict(path, x):
    served = tf.saved_model.load(path)
    return served.serve({name: tf.constant(value) for name, value in x.items()})
"""
LITERT = """
kind = "litert"
from ai_edge_litert.interpreter import Interpreter
def predict(path, x):
    return Interpreter(path + ".tflite").get_signature_runner("serving_default")(**x)
"""
ONNX = """
kind = "onnx"
import onnxruntime
def predict(path, x):
    session = onnxruntime.InferenceSession(path + ".onnx")
    names = [output.name.removesuffix(":output") for output in session.get_outputs()]
    return dict(zip(names, session.run(None, x)))
"""
FORMATS = {"keras": ".keras", "saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
# Converters are slow: one case of each builder, and those with operations of their own.
CONVERTED = {
    *mm.BUILDERS,
    "build_dfn-bottleneck",
    "build_dfn-routed",
    "build_nasn-attention",
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with what every builder ships, and `{case: outputs}`."""
    folder = tmp_path_factory.mktemp("shipped")
    expected = {}
    written = {kind: [] for kind in FORMATS}
    for case in builder_cases():
        keras.utils.set_random_seed(0)
        model = mm.inference_model(case.build())
        x = {name: case.batch[name] for name in model.input}
        np.savez(folder / f"{case.name}_x.npz", **x)
        expected[case.name] = {
            name: np.asarray(value) for name, value in model(x, training=False).items()
        }
        for kind, suffix in FORMATS.items():
            if kind in ("keras", "saved_model") or case.name in CONVERTED:
                mm.export(model, folder / f"{case.name}{suffix}", format=kind, check=False)
                written[kind].append(case.name)
    for kind, cases in written.items():
        (folder / f"{kind}.json").write_text(json.dumps(cases), encoding="utf-8")
    return folder, expected, written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "predict"),
    zip(FORMATS, [KERAS, SAVED_MODEL, LITERT, ONNX], strict=True),
    ids=list(FORMATS),
)
def test_predictions_are_the_same(shipped, kind, predict):
    folder, expected, written = shipped
    done = subprocess.run(
        [sys.executable, "-c", predict + RUN, str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(mm.BUILDERS) <= set(written[kind])
    for case in written[kind]:
        outputs = expected[case]
        with np.load(folder / f"{case}_found.npz") as found:
            assert sorted(found) == sorted(outputs)
            for name, value in outputs.items():
                np.testing.assert_allclose(
                    found[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{case}: {name}"
                )
