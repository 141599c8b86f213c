"""The card of a written model: in the file, whatever the format, wherever it goes."""

import json
import shutil
import zipfile

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.exporting import read_card
from tests.exporting.conftest import SUFFIXES


@pytest.fixture(scope="module")
def model():
    return mm.build_dml(
        {"a": mm.Features(4, optional=True), "words": mm.Text(3, 20).adapt(["red cat"])}, 2, width=4
    )


CARD = {
    "classes": ["cat", "dog"],
    "metrics": {"accuracy": np.float32(0.5)},
    "training_data": {"name": "pets", "samples": 100},
}


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
def test_a_moved_file_still_has_its_card(model, tmp_path, format):
    path = mm.export(model, tmp_path / f"m{SUFFIXES[format]}", format, check=False, **CARD)
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    shutil.move(path, moved)
    card = read_card(moved)
    if format != "keras":
        assert mm.load(moved).card == card
    assert card["format"] == format
    assert card["classes"] == {"label": ["cat", "dog"]}
    assert card["metrics"] == {"accuracy": 0.5}
    assert card["training_data"] == {"name": "pets", "samples": 100}
    assert card["inputs"]["a"] == {"shape": [None, 4], "dtype": "float32", "units": "features"}
    assert card["inputs"]["a_present"]["units"] == "whether a is there"
    assert card["outputs"]["words"]["shape"] == [None, 2]
    assert card["modalities"]["words"]["type"] == "Text"
    assert card["modalities"]["words"]["vocabulary"] == list(
        mm.modalities_of(model)["words"].vocabulary
    )
    assert card["parameters"] == mm.inference_model(model).count_params()
    assert set(card["versions"]) == {"mm_keras", "keras", "tensorflow", "python"}


@pytest.mark.slow
def test_tools_of_the_format_find_it(model, tmp_path):
    path = mm.export(model, tmp_path / "m.tflite", format="litert", check=False)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("card.json")) == read_card(path)
    path = mm.export(model, tmp_path / "m.onnx", format="onnx", check=False)
    import onnxruntime

    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["mm_keras_card"]) == read_card(path)


def test_files_of_others_have_none(tmp_path):
    import keras

    inputs = keras.Input((2,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    for format, suffix in (("litert", ".tflite"), (None, ".keras")):
        model.export(tmp_path / f"m{suffix}", format, verbose=False) if format else model.save(
            tmp_path / f"m{suffix}"
        )
        assert read_card(tmp_path / f"m{suffix}") is None
    assert read_card(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"classes": ["cat"]}, ValueError, "`classes` must have 2 names for the output 'label'"),
        ({"classes": "cd"}, ValueError, "`classes` must have 2 names"),
        ({"classes": {"lable": ["a", "b"]}}, ValueError, r"outputs out of .* Received: 'lable'"),
        ({"metrics": {"accuracy": "good"}}, TypeError, "`metrics` must be {name: number}"),
        ({"metrics": 0.5}, TypeError, "`metrics` must be {name: number}"),
        ({"training_data": object()}, TypeError, "`training_data` must be text, or what JSON"),
        ({"check": "yes"}, TypeError, "`check` must be a bool"),
    ],
)
def test_errors(model, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        mm.export(model, tmp_path / "m.tflite", format="litert", **given)
    assert not any(tmp_path.iterdir())
