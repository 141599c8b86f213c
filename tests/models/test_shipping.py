"""Models in files and other processes: `.keras`, SavedModel without mm_keras, LiteRT, JAX."""

import importlib.util
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import mm_keras as mm

PREDICT = """
found = {name: np.asarray(value) for name, value in predict(x).items()}
np.savez(sys.argv[2] + "/found.npz", **found)
"""


def python(code, folder, *flags, **environment):
    """Runs code in a fresh process."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code, str(folder / "model"), str(folder)],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model():
    """Image, sound and text, all optional, with branches that only training needs."""
    modalities = {
        "image": mm.Image((8, 8, 1), backbone="SmallCNN", optional=True),
        "audio": mm.Audio(600, 8000, mel_bins=8, optional=True),
        "text": mm.Text(4, 9, backbone="Transformer", embedding=8, optional=True),
        "table": mm.Tabular(
            numeric=("n",),
            categorical={"c": ("x",), "d": ("y",)},
            wide=(("c", "d"),),
            deep=(4,),
            normalize=False,
        ),
    }
    return mm.build_mcnn(
        modalities,
        {"label": 3, "size": mm.Regression(1)},
        width=8,
        fusion="gated",
        modality_dropout=0.3,
        auxiliary_heads=True,
    )


@pytest.fixture(scope="module")
def x(model):
    """A sample for each pattern of presence; absent ones hold NaN."""
    noise = np.random.default_rng(0)
    patterns = np.array(list(itertools.product([True, False], repeat=3)))
    inputs = {
        "image": noise.uniform(0, 255, (8, 8, 8, 1)).astype("float32"),
        "audio": noise.uniform(-1, 1, (8, 600)).astype("float32"),
        "text": noise.integers(0, 9, (8, 4)).astype("int32"),
        "table": np.array([[0.5, 1, 0, 7], [2.0, 0, 1, 9]] * 4, "float32"),
    }
    for index, name in enumerate(["image", "audio", "text"]):
        inputs[f"{name}_present"] = patterns[:, index : index + 1]
        if name != "text":
            inputs[name][~patterns[:, index]] = np.nan
    return inputs


def found_in(folder):
    with np.load(folder / "found.npz") as file:
        return dict(file)


def assert_equal(found, expected, atol):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert np.isfinite(value).all()
        np.testing.assert_allclose(found[name], value, atol=atol)


def test_saved_model_runs_without_mm_keras(model, x, tmp_path):
    shipped = mm.inference_model(model)
    shipped.export(tmp_path / "model", verbose=False)
    np.savez(tmp_path / "x.npz", **x)
    code = (
        """
import sys
sys.modules["mm_keras"] = None  # importing it would raise
import numpy as np, tensorflow as tf
x = {name: tf.constant(value) for name, value in np.load(sys.argv[2] + "/x.npz").items()}
served = tf.saved_model.load(sys.argv[1])
predict = served.serve
"""
        + PREDICT
        + 'assert not [name for name in sys.modules if name.startswith("mm_keras.")]'
    )
    python(code, tmp_path, "-I")
    expected = {name: value.numpy() for name, value in shipped(x).items()}
    assert sorted(expected) == ["label", "size"]
    assert_equal(found_in(tmp_path), expected, atol=1e-5)


def test_keras_file_needs_only_import_mm_keras(model, x, tmp_path):
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **x)
    code = (
        """
import sys
import mm_keras, keras, numpy as np
x = dict(np.load(sys.argv[2] + "/x.npz"))
predict = keras.models.load_model(sys.argv[1] + ".keras")
specs = mm_keras.modalities_of(predict)
assert sorted(specs) == ["audio", "image", "table", "text"], specs
"""
        + PREDICT
    )
    python(code, tmp_path)
    assert_equal(found_in(tmp_path), {k: v.numpy() for k, v in model(x).items()}, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_jax_builds_fits_and_predicts(tmp_path):
    code = """
import keras, numpy as np
import mm_keras as mm
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
modalities = {
    "image": mm.Image((8, 8, 1), backbone="SmallCNN", optional=True),
    "audio": mm.Audio(600, 8000, mel_bins=8),
    "text": mm.Text(4, 9, backbone="Transformer", embedding=8),
    "table": mm.Tabular(
        numeric=("n",),
        categorical={"c": ("x",), "d": ("y",)},
        wide=(("c", "d"),),
        deep=(4,),
        normalize=False,
    ),
}
model = mm.build_mcnn(modalities, 3, width=8, modality_dropout=0.2, dropout=0.1)
noise = np.random.default_rng(0)
x = {
    "image": noise.uniform(0, 255, (6, 8, 8, 1)),
    "image_present": np.array([[True], [False]] * 3),
    "audio": noise.uniform(-1, 1, (6, 600)),
    "text": noise.integers(0, 9, (6, 4)),
    "table": modalities["table"].encode({"n": range(6), "c": ["x"] * 6, "d": ["y", "z"] * 3}),
}
x["image"][1::2] = np.nan
compiled = {"jit_compile": mm.training.jit_compile()}
model.compile(keras.optimizers.SGD(0.1), mm.losses.classification(), **compiled)
assert model.jit_compile is True
before = model.get_weights()
model.train_on_batch(x, np.arange(6) % 3)
moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights())]
label = model.predict_on_batch(x)["label"]
assert label.shape == (6, 3) and np.isfinite(label).all()
print("moved", sum(moved) / len(moved))
"""
    printed = python(code, tmp_path, KERAS_BACKEND="jax")
    assert float(printed.rpartition("moved")[2]) > 0.8


@pytest.mark.slow
def test_litert_gives_the_same_predictions(model, x, tmp_path):
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai_edge_litert is not installed"
    )
    shipped = mm.inference_model(model)
    path = str(tmp_path / "model.tflite")
    shipped.export(path, format="litert", verbose=False)
    run = interpreters.Interpreter(path).get_signature_runner("serving_default")
    expected = {name: value.numpy() for name, value in shipped(x).items()}
    for row in range(8):
        found = run(**{name: value[row : row + 1] for name, value in x.items()})
        assert_equal(found, {k: v[row : row + 1] for k, v in expected.items()}, atol=1e-4)


def test_every_weight_has_a_path_of_its_own():
    # Keras on PyTorch keeps one parameter for each path: gradients of others would add up.
    picture = mm.Image((8, 8, 1), backbone="SmallCNN")
    text = mm.Text(4, 9, embedding=8)
    model = mm.build_mcnn({"a": picture, "b": picture, "c": text, "d": text}, 3, width=8)
    assert len({weight.path for weight in model.weights}) == len(model.weights)
