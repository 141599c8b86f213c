"""Experiments end to end: trained, measured and written; and the command that runs them."""

import json

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.datasets import av_digits

CONFIG = """
modalities:
  image: {{type: Image, shape: [8, 8, 1], backbone: SmallCNN}}
builder: {{name: build_mcnn, num_classes: 10, width: 16}}
dataset: {{name: av_digits, batch_size: 64, data_dir: {data}, options: {{image_noise: 0}}}}
compile: {{learning_rate: 0.003}}
fit: {{epochs: 2}}
output: {output}
"""


def test_train_writes_a_model_that_reproduces_its_metrics(tmp_path, digits_folder, capsys):
    config = tmp_path / "config.yaml"
    output = tmp_path / "out"
    config.write_text(CONFIG.format(data=digits_folder, output=output), encoding="utf-8")
    assert main(["train", str(config)]) == 0
    assert {path.name for path in output.iterdir()} == {
        "config.yaml",
        "confusion_matrix.png",
        "learning_curve_accuracy.png",
        "learning_curve_loss.png",
        "metrics.json",
        "model.keras",
        "model_diagram.png",
        "saved_model",
    }
    metrics = json.loads((output / "metrics.json").read_text())
    (row,) = metrics["models"]
    assert row["test"]["accuracy"] > 0.5
    assert len(row["history"]["val_accuracy"]) == 2
    model = keras.models.load_model(output / "model.keras")
    assert row["parameters"] == model.count_params()
    test = av_digits("test", image_noise=0, data_dir=digits_folder).batch(64)
    labels = np.concatenate([label for _, label in test.as_numpy_iterator()])
    predicted = model.predict(test.map(lambda inputs, label: {"image": inputs["image"]}), verbose=0)
    accuracy = np.mean(np.argmax(predicted["label"], axis=-1) == labels)
    assert accuracy == pytest.approx(row["test"]["accuracy"])
    assert f"{row['test']['accuracy']:.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_demo_trains_three_models_and_writes_the_fused_one(
    tmp_path, digits_folder, monkeypatch, capsys
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_folder))
    assert main(["demo", "--epochs", "1", "--output", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    for name in ("image only", "audio only", "image + audio", "What to try next"):
        assert name in printed
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "confusion_matrix.png",
        "learning_curves.png",
        "metrics.json",
        "model.keras",
        "model_diagram.png",
        "saved_model",
    }
    model = keras.models.load_model(tmp_path / "demo" / "model.keras")
    assert sorted(mm.modalities_of(model)) == ["audio", "image"]


def test_info_lists_versions_builders_and_backbones(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for text in (keras.__version__, "build_mcnn", "cross_attention", "EfficientNetB0", "cpu:0"):
        assert text in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [("modalties: {}", "Did you mean 'modalities'"), (None, "must be an existing YAML file")],
)
def test_bad_configs_exit_with_2_and_the_reason(tmp_path, capsys, text, message):
    path = tmp_path / "config.yaml"
    if text:
        path.write_text(text, encoding="utf-8")
    assert main(["train", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_epochs_must_be_positive(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--epochs", "0"])
    assert "must be at least 1" in capsys.readouterr().err
