"""Nothing is overwritten unasked, nothing of other weights is left, and no model is lost."""

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import Outcome

CONFIG = """
modalities: {a: {type: Features, shape: 2}}
builder: {num_classes: 2, width: 4}
dataset: {type: arrays, path: data.npz, labels: y, split: part, batch_size: 8}
fit: {epochs: 1}
output: out
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = np.arange(24) % 2
    np.savez(
        "data.npz",
        a=np.eye(2)[y].astype("float32"),
        y=y,
        part=np.repeat(["train", "validation", "test"], 8),
    )
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return "config.yaml"


@pytest.mark.slow
def test_a_finished_run_is_replaced_when_asked(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", config]) == 0
    (out / "compressed").mkdir()
    (out / "compressed" / "report.json").touch()
    (out / "model.tflite").touch()
    (out / "phone.tflite").touch()
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for more in ([], ["--resume"]):
        assert main(["train", config, *more]) == 2
        message = " ".join(capsys.readouterr().err.split())
        assert "`output` must be a new folder; or --overwrite must be given" in message
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written

    # A picture that can't be written: the model and its figures are there all the same.
    (out / "model_diagram.png").unlink()
    (out / "model_diagram.png").mkdir()
    described = (out / "config.yaml").read_bytes()
    assert main(["train", str(out / "config.yaml"), "--overwrite"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "Not everything could be written to out, but the trained model is in out/" in message
    assert "model_diagram.png: " in message
    for name in ("model.keras", "metrics.json", "config.yaml"):
        assert (out / name).stat().st_mtime_ns > written[out / name]
    assert (out / "config.yaml").read_bytes() == described
    assert (out / "confusion_matrix.png").is_file()
    assert not (out / "compressed").exists()
    assert not (out / "model.tflite").exists()

    (out / "model_diagram.png").rmdir()
    assert main(["train", config, "--resume"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Deleted, since made of an earlier model: confusion_matrix.png, saved_model." in printed
    assert "Of an earlier model, and still there: phone.tflite." in printed
    assert (out / "model_diagram.png").is_file()
    assert not (out / "checkpoints").exists()


@pytest.fixture
def outcome():
    model = mm.build_mcnn({"a": mm.Features(2)}, 2, width=4)
    labels = np.arange(4) % 2
    return Outcome("one", model, {}, {"accuracy": 1.0}, 1.0, 1.0, {"label": (labels, labels)})


def test_a_card_that_can_not_be_made_costs_no_model(outcome, tmp_path):
    with pytest.raises(OSError, match=r"model\.keras, without a card.*`classes` must have 2 names"):
        outcome.write(tmp_path, classes={"label": ["hat", "shoe", "sock"]})
    given = {"a": np.ones((2, 2), "float32")}
    np.testing.assert_array_equal(
        mm.load(tmp_path / "model.keras").predict(given, verbose=0)["label"],
        outcome.model.predict(given, verbose=0)["label"],
    )
    assert (tmp_path / "model_diagram.png").is_file()


def test_folders_of_other_contents_stay(outcome, tmp_path):
    for name in ("compressed", "pictures"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").touch()
    (tmp_path / "model.onnx").touch()
    assert outcome.write(tmp_path) == ["model.onnx"]
    assert (tmp_path / "compressed" / "mine.txt").is_file()
    assert outcome.write(tmp_path) == ["confusion_matrix.png", "saved_model"]


def test_a_folder_in_the_way_is_found_before_training(config, tmp_path, capsys):
    (tmp_path / "out" / "saved_model").mkdir(parents=True)
    (tmp_path / "out" / "saved_model" / "mine.txt").touch()
    assert main(["train", config]) == 2
    assert "one with saved_model.pb" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "checkpoints").exists()
