"""Experiments end to end: trained, measured and written; and the command that runs them."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras._graphs import dtype_policy
from mm_keras.cli import main
from mm_keras.datasets import av_digits
from mm_keras.experiments import read_config
from mm_keras.experiments.compilation import compile_for

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
    digits = [str(digit) for digit in range(10)]
    assert mm.exporting.read_card(output / "model.keras")["classes"] == {"label": digits}
    model = keras.models.load_model(output / "model.keras")
    assert row["parameters"] == model.count_params()
    test = av_digits("test", image_noise=0, data_dir=digits_folder).batch(64)
    labels = np.concatenate([label for _, label in test.as_numpy_iterator()])
    predicted = model.predict(test.map(lambda inputs, label: {"image": inputs["image"]}), verbose=0)
    accuracy = np.mean(np.argmax(predicted["label"], axis=-1) == labels)
    assert accuracy == pytest.approx(row["test"]["accuracy"])
    assert f"{row['test']['accuracy']:.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_train_in_half_precision(tmp_path, digits_folder):
    """The file's policy, optimizer and steps are those of the model that is written."""
    config, output = tmp_path / "config.yaml", tmp_path / "out"
    text = CONFIG.format(data=digits_folder, output=output).replace(
        "{learning_rate: 0.003}",
        "{optimizer: {name: adam, clipnorm: 1.0, gradient_accumulation_steps: 2}, "
        "learning_rate: 0.01, jit_compile: false, steps_per_execution: 4}",
    )
    config.write_text("precision: mixed_float16\n" + text, encoding="utf-8")
    assert main(["train", str(config)]) == 0
    assert keras.config.dtype_policy().name == "float32"
    model = mm.load(output / "model.keras")
    (row,) = json.loads((output / "metrics.json").read_text())["models"]
    assert row["test"]["accuracy"] > 0.5
    assert model.dtype_policy.name == "mixed_float16"
    assert model.get_layer("image_projection").compute_dtype == "float16"
    inner = read_config(config).optimizer["config"]
    assert inner == {"clipnorm": 1.0, "gradient_accumulation_steps": 2}


def test_an_experiment_says_how_its_graphs_are_compiled(tmp_path, digits_folder):
    """Also the graph that measures, which is compiled anew."""
    path = tmp_path / "config.yaml"
    text = CONFIG.format(data=digits_folder, output=tmp_path).replace(
        "{learning_rate: 0.003}",
        "{optimizer: {name: sgd, global_clipnorm: 2}, jit_compile: true, steps_per_execution: 4}",
    )
    path.write_text("precision: mixed_float16\n" + text, encoding="utf-8")
    experiment = read_config(path)
    with dtype_policy(experiment.precision):
        model = mm.build_mcnn(experiment.modalities, 10, width=4)
    for graph in (model, mm.inference_model(model)):
        compile_for(graph, experiment)
        assert graph.jit_compile
        assert graph.steps_per_execution == 4
        assert isinstance(graph.optimizer, keras.optimizers.LossScaleOptimizer)
        assert graph.optimizer.inner_optimizer.global_clipnorm == 2
    compile_for(model, dataclasses.replace(experiment, jit_compile="auto", learning_rate=0.5))
    assert model.jit_compile == (mm.training.jit_compile() is not False)
    assert float(model.optimizer.learning_rate) == 0.5


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
