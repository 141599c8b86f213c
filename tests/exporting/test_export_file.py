"""`mm-keras export`, and the function behind it."""

import pathlib

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.exporting import export_file, read_card


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns a folder as `mm-keras train` writes it."""
    folder = tmp_path_factory.mktemp("run")
    model = mm.build_mcnn({"a": mm.Features(3), "b": mm.Features(2)}, 2, width=4)
    mm.export(
        model,
        folder / "model.keras",
        format="keras",
        check=False,
        classes=["cat", "dog"],
        metrics={"accuracy": 0.75},
        training_data="pets",
    )
    return folder


def test_a_folder_or_its_file_becomes_another_format(run, tmp_path, capsys):
    inputs = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 2), "float32")}
    expected = mm.load(run / "model.keras").predict(inputs, verbose=0)["label"]
    assert main(["export", str(run), "--format", "litert"]) == 0
    assert "model.tflite: predicts what the model does." in capsys.readouterr().out.replace(
        "\n", ""
    )
    output = str(tmp_path / "deep" / "m.onnx")
    model = str(run / "model.keras")
    assert main(["export", model, "--format", "onnx", "--output", output, "--no-check"]) == 0
    for path in (run / "model.tflite", pathlib.Path(output)):
        np.testing.assert_allclose(mm.load(path).predict(inputs)["label"], expected, atol=1e-6)
        card = read_card(path)
        assert card["classes"] == {"label": ["cat", "dog"]}
        assert card["metrics"] == {"accuracy": 0.75}
        assert card["training_data"] == "pets"


@pytest.mark.slow
def test_raw_inputs(tmp_path):
    model = mm.build_mcnn({"image": mm.Image((6, 6, 1), backbone="SmallCNN")}, 2, width=4)
    mm.export(model, tmp_path / "model.keras", format="keras", check=False)
    arguments = ["export", str(tmp_path), "--format", "litert", "--preprocessing"]
    assert main(arguments) == 0
    assert mm.load(tmp_path / "model.tflite").inputs["image"].dtype == "uint8"
    assert main([*arguments, "pad"]) == 2


def test_a_saved_model_has_a_folder_of_its_name(run):
    path = export_file(run, "saved_model", check=False)
    assert path == run / "saved_model"
    assert export_file(run, "saved_model", check=False) == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--format", "onnx"], "`source` must be a .keras file, or a folder"),
        (["nowhere.keras", "--format", "onnx"], "`source` must name a file"),
        (["RUN", "--format", "tflite"], "`format` must be one of"),
        (["RUN", "--format", "onnx", "--output", "m.tflite"], "must end in '.onnx'"),
    ],
)
def test_errors(run, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(run)
    assert main(["export", *(str(run) if one == "RUN" else one for one in arguments)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
