"""`LiteRTModel`: names, batches, types and errors of `.tflite` files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.exporting import LiteRTModel, TensorInfo


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return mm.build_mcnn(
        {
            "vector": mm.Features(4, optional=True),
            "a": mm.Features((2, 3)),
            "words": mm.Text(3, 20),
        },
        {"kind": 3, "size": mm.Regression(1)},
        width=8,
    )


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=(5, 2, 3)).astype("float32"),
        "vector": rng.normal(size=(5, 4)).astype("float32"),
        "vector_present": np.array([[True], [False], [True], [False], [True]]),
        "words": rng.integers(0, 20, (5, 3)),  # int64, where the file has int32
    }


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "model.tflite"
    return mm.export(model, path, format="litert", check=False)


@pytest.fixture(scope="module")
def lite(path):
    return LiteRTModel(path)


def quantized(batch, kind, folder):
    """Returns a file whose inputs and outputs are integers, and the model it was made of."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((4, 4, 1), batch_size=batch, name="pixels")
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(pixels))
    output = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    model = keras.Model({"pixels": pixels}, {"logits": output})
    model.export(folder, format="tf_saved_model", verbose=False)
    rng = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        {"pixels": rng.uniform(0, 255, (batch or 1, 4, 4, 1)).astype("float32")} for _ in range(50)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = kind
    converter.inference_output_type = kind
    return converter.convert(), model


def test_inputs_and_outputs_have_their_names(lite):
    assert lite.inputs == {
        "a": TensorInfo((None, 2, 3), "float32"),
        "vector": TensorInfo((None, 4), "float32"),
        "vector_present": TensorInfo((None, 1), "bool"),
        "words": TensorInfo((None, 3), "int32"),
    }
    assert {name: info.shape[1:] for name, info in lite.outputs.items()} == {
        "kind": (3,),
        "size": (1,),
    }


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_predicts_what_the_model_predicts(model, lite, inputs, batch_size):
    found = lite.predict(inputs, batch_size=batch_size, verbose=0)
    expected = model.predict(inputs, verbose=0)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_what_an_absent_modality_holds_does_not_matter(lite, inputs):
    garbage = inputs["vector"].copy()
    garbage[~inputs["vector_present"][:, 0]] = np.nan
    found = lite.predict({**inputs, "vector": garbage})
    np.testing.assert_array_equal(found["kind"], lite.predict(inputs)["kind"])


def test_bytes_and_threads(path, lite, inputs):
    same = LiteRTModel(path.read_bytes(), threads=2)
    np.testing.assert_allclose(
        same.predict(inputs)["kind"], lite.predict(inputs)["kind"], atol=1e-6
    )


def test_save_writes_the_same_file(path, lite, tmp_path):
    saved = lite.save(tmp_path / "deep" / "copy.tflite")
    assert saved.read_bytes() == path.read_bytes()
    assert [found.name for found in saved.parent.iterdir()] == ["copy.tflite"]


def test_one_model_for_several_threads(lite, inputs):
    from concurrent.futures import ThreadPoolExecutor

    expected = lite.predict(inputs, batch_size=1)["kind"]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda size: lite.predict(inputs, batch_size=size)["kind"], [1, 2, 3] * 8)
        for value in found:
            np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("batch", [None, 2], ids=["any batch", "batches of 2"])
@pytest.mark.parametrize("kind", [tf.int8, tf.uint8], ids=["int8", "uint8"])
def test_quantized_inputs_and_outputs_are_given_as_what_they_stand_for(kind, batch, tmp_path):
    content, model = quantized(batch, kind, tmp_path)
    lite = LiteRTModel(content)
    assert lite.inputs["pixels"].dtype == lite.outputs["logits"].dtype == kind.name
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 4, 1))
    expected = model({"pixels": pixels.astype("float32")})["logits"].numpy()
    for given in (pixels.astype("uint8"), pixels.astype("float32")):
        found = lite.predict({"pixels": given})["logits"]  # 5 samples: the last batch is ragged
        assert found.dtype == "float32"
        assert found.shape == (5, 2)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * np.abs(expected).max(), "no samples mix"


def test_names_and_shapes_that_do_not_fit(lite, inputs):
    def without(name):
        return {key: value for key, value in inputs.items() if key != name}

    with pytest.raises(ValueError, match=r"for \['a', .*Missing: \['words'\]. Unknown: \[\]"):
        lite.predict(without("words"))
    with pytest.raises(
        ValueError, match=r"Did you mean 'words'\? Missing: .* Unknown: \['wrods'\]"
    ):
        lite.predict({**without("words"), "wrods": inputs["words"]})
    with pytest.raises(ValueError, match=r"`inputs\['a'\]` must have the shape \(None, 2, 3\)"):
        lite.predict({**inputs, "a": inputs["a"][:, :1]})
    with pytest.raises(ValueError, match=r"`inputs\['a'\]` must have the shape .*\(2, 3\)"):
        lite.predict({**inputs, "a": inputs["a"][0]})
    with pytest.raises(ValueError, match=r"one number of samples, at least 1. .*'words': 2"):
        lite.predict({**inputs, "words": inputs["words"][:2]})
    with pytest.raises(ValueError, match="at least 1"):
        lite.predict({name: array[:0] for name, array in inputs.items()})
    with pytest.raises(TypeError, match=r"`inputs\['words'\]` .* int32 holds exactly.* from 1.5"):
        lite.predict({**inputs, "words": inputs["words"] + 0.5})
    with pytest.raises(TypeError, match=r"`inputs\['a'\]` must be numbers that fit float32"):
        lite.predict({**inputs, "a": np.full((5, 2, 3), "x")})
    with pytest.raises(TypeError, match=r"`inputs` must be a dict of arrays by the names"):
        lite.predict(inputs["a"])


def test_what_is_no_litert_file(tmp_path, path, lite):
    with pytest.raises(ValueError, match=r"`source` must be a LiteRT model .*400 bytes"):
        LiteRTModel(b"nope" * 100)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        LiteRTModel(tmp_path / "nowhere.tflite")
    with pytest.raises(TypeError, match="`threads` must be an integer"):
        LiteRTModel(path, threads=1.5)
    with pytest.raises(ValueError, match=r"`path` must end in '.tflite'"):
        lite.save(tmp_path / "model.lite")
