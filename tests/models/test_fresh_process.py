"""Every builder of the table, in fresh processes: `.keras` with mm_keras, SavedModel without."""

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
for case in json.loads((folder / "cases.json").read_text()):
    x = dict(np.load(folder / f"{case}_x.npz"))
    outputs = predict(str(folder / case), x)
    np.savez(folder / f"{case}_found.npz", **{k: np.asarray(v) for k, v in outputs.items()})
"""
KERAS = """
import keras, mm_keras
def predict(path, x):
    return keras.models.load_model(path + ".keras")(x, training=False)
"""
SAVED_MODEL = """
import sys
sys.modules["mm_keras"] = None  # importing it would raise
import tensorflow as tf
def predict(path, x):
    served = tf.saved_model.load(path)
    return served.serve({name: tf.constant(value) for name, value in x.items()})
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with what every builder ships, and `{case: outputs}`."""
    folder = tmp_path_factory.mktemp("shipped")
    expected = {}
    for case in builder_cases():
        keras.utils.set_random_seed(0)
        model = mm.inference_model(case.build())
        x = {name: case.batch[name] for name in model.input}
        np.savez(folder / f"{case.name}_x.npz", **x)
        expected[case.name] = {
            name: np.asarray(value) for name, value in model(x, training=False).items()
        }
        mm.export(model, folder / f"{case.name}.keras", format="keras", check=False)
        mm.export(model, folder / case.name, format="saved_model", check=False)
    (folder / "cases.json").write_text(json.dumps(sorted(expected)), encoding="utf-8")
    return folder, expected


@pytest.mark.slow
@pytest.mark.parametrize("predict", [KERAS, SAVED_MODEL], ids=["keras", "saved_model"])
def test_predictions_are_the_same(shipped, predict):
    folder, expected = shipped
    done = subprocess.run(
        [sys.executable, "-c", predict + RUN, str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(mm.BUILDERS) <= {case.split("-")[0] for case in expected}
    for case, outputs in expected.items():
        with np.load(folder / f"{case}_found.npz") as found:
            assert sorted(found) == sorted(outputs)
            for name, value in outputs.items():
                np.testing.assert_allclose(
                    found[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{case}: {name}"
                )
