"""`mm-keras compress`: from a trained run to files, a table and a picture."""

import json

import pytest

import mm_keras as mm
from mm_keras.cli import main

CONFIG = """
modalities:
  image: {{type: Image, shape: [8, 8, 1], backbone: SmallCNN}}
builder: {{name: build_mcnn, num_classes: 10, width: 16}}
dataset: {{name: av_digits, batch_size: 64, data_dir: {data}, options: {{image_noise: 0}}}}
compile: {{learning_rate: 0.003}}
fit: {{epochs: 3}}
output: {output}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits_folder):
    folder = tmp_path_factory.mktemp("run")
    config = folder / "config.yaml"
    text = CONFIG.format(data=digits_folder, output=folder / "run")
    config.write_text(text, encoding="utf-8")
    assert main(["train", str(config)]) == 0
    return folder / "run"


@pytest.mark.slow
def test_variants_after_training(run, capsys):
    assert main(["compress", str(run)]) == 0
    printed = capsys.readouterr().out
    folder = run / "compressed"
    assert {path.name for path in folder.iterdir()} == {
        "dynamic.tflite",
        "float16.tflite",
        "int8.tflite",
        "report.json",
        "report.png",
    }
    rows = {row["name"]: row for row in json.loads((folder / "report.json").read_text())["rows"]}
    assert list(rows) == ["float", "int8", "dynamic", "float16"]
    trained = json.loads((run / "metrics.json").read_text())["models"][0]["test"]["accuracy"]
    assert rows["float"]["metrics"]["accuracy"] == pytest.approx(trained)
    assert rows["int8"]["metrics"]["accuracy"] > trained - 0.02
    assert f"{rows['int8']['metrics']['accuracy']:.4f}" in printed
    assert mm.load(folder / "int8.tflite").inputs["image"].shape == (None, 8, 8, 1)


@pytest.mark.slow
def test_variants_that_are_trained_from_a_keras_file(run, tmp_path, capsys):
    command = ["compress", str(run / "model.keras"), "--config", str(run / "config.yaml")]
    options = ["--variants", "combined", "--sparsity", "0.6", "--epochs", "1"]
    assert main([*command, *options, "--output", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert rows[1]["name"] == "combined"
    assert rows[1]["sparsity"] == pytest.approx(0.6, abs=0.02)
    assert rows[1]["zipped_bytes"] < 0.3 * rows[0]["zipped_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "which does not exist"),
        (["{run}", "--variants", "int4"], "Did you mean 'int8'?"),
        (["{run}/model.keras"], "`config` must be given for a .keras file"),
        (["{run}/metrics.json"], "`path` must be a folder or end in '.keras'"),
        (["{run}", "--sparsity", "1.5"], "`sparsity` must be at least 0"),
        (["{run}", "--output", "{run}/metrics.json"], "can be written"),
    ],
)
def test_bad_input_exits_with_2_and_the_reason(run, capsys, options, message):
    assert main(["compress", *(option.format(run=run) for option in options)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_config_of_other_modalities_is_refused(run, tmp_path, capsys):
    text = (run / "config.yaml").read_text(encoding="utf-8").replace("image:", "photo:", 1)
    (tmp_path / "other.yaml").write_text(text, encoding="utf-8")
    options = ["--config", str(tmp_path / "other.yaml")]
    assert main(["compress", str(run / "model.keras"), *options]) == 2
    assert "with the modalities ['image']" in " ".join(capsys.readouterr().err.split())
