"""`mm.compress.report` and `sensitivity`: figures against files, processes and arithmetic."""

import dataclasses
import io
import json
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rich.console import Console

import mm_keras as mm
from mm_keras.compress import Row
from mm_keras.compress.report import tables


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=(50, 64)).astype("float32"),
        "b": rng.normal(size=(50, 6)).astype("float32"),
    }


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(
        {"a": mm.Features(64), "b": mm.Features(6)}, 4, width=64, auxiliary_heads=True
    )
    kernel = model.get_layer("label_logits").kernel
    values = kernel.numpy()
    values[:32] = 0
    kernel.assign(values)
    return model


@pytest.fixture(scope="module")
def labels(model, inputs):
    """What the model says, but for the first ten."""
    found = model.predict(inputs, verbose=0)["label"].argmax(-1)
    found[:10] = (found[:10] + 1) % 4
    return found


@pytest.fixture(scope="module")
def test_set(inputs, labels):
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16)


@pytest.fixture(scope="module")
def measured(model, test_set, tmp_path_factory):
    """Rows, what was printed, and the folder that was written."""
    folder = tmp_path_factory.mktemp("report")
    mm.inference_model(model).save(folder / "model.keras")
    small = mm.compress.quantize(model, "dynamic")
    small.save(folder / "small.tflite")
    printed = io.StringIO()
    rows = mm.compress.report(
        {"float": model, "a file": folder / "model.keras", "dynamic": folder / "small.tflite"},
        test_set,
        runs=5,
        path=folder / "out" / "table",
        console=Console(file=printed, width=200),
    )
    return rows, printed.getvalue(), folder


def test_sizes_are_those_of_the_files(measured):
    rows, _, folder = measured
    for row, name in zip(rows, ("model.keras", "model.keras", "small.tflite"), strict=True):
        size = (folder / name).stat().st_size
        assert row.bytes == pytest.approx(size, rel=0.01 if row.name == "a file" else 0)
        zipped = zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=9)
        zipped.write(folder / name, name)
        assert row.zipped_bytes == pytest.approx(zipped.infolist()[0].compress_size, rel=0.01)
    assert rows[2].bytes < rows[0].bytes


def test_zeros_and_parameters(measured, model):
    rows, _, _ = measured
    kernels = 64 * 64 + 6 * 64 + 128 * 4
    assert rows[0].sparsity == pytest.approx(32 * 4 / kernels)
    assert rows[0].parameters == mm.inference_model(model).count_params()
    assert rows[2].parameters == pytest.approx(rows[0].parameters, rel=0.05)
    assert rows[2].sparsity == pytest.approx(rows[0].sparsity, abs=0.02)


def test_accuracy_is_that_of_the_labels(measured):
    rows, _, _ = measured
    assert rows[0].metrics == rows[1].metrics
    assert rows[0].metrics["accuracy"] == 0.8
    assert rows[2].metrics["accuracy"] == pytest.approx(0.8, abs=0.1)


def test_probabilities_are_measured_too(measured, model, inputs, labels):
    rows, _, _ = measured
    probabilities = model.predict(inputs, verbose=0)["label"]
    expected = mm.evaluate.calibration_metrics(labels, probabilities)
    assert list(rows[0].metrics) == ["accuracy", "NLL", "ECE"]
    for metric in ("NLL", "ECE"):
        assert rows[0].metrics[metric] == pytest.approx(expected[metric], abs=1e-5)


def test_logits_have_no_calibration(inputs, labels):
    heads = {"label": mm.Classification(4, logits=True), "other": mm.Classification(4)}
    model = mm.build_mcnn({"a": mm.Features(64)}, heads, width=8)
    data = tf.data.Dataset.from_tensor_slices(({"a": inputs["a"]}, dict.fromkeys(heads, labels)))
    options = {"runs": 1, "console": Console(quiet=True)}
    (row,) = mm.compress.report({"only": model}, data.batch(50), **options)
    assert list(row.metrics) == ["accuracy"]


@pytest.mark.parametrize("models", [1, 3, 8])
def test_the_table_can_be_read_at_80_columns(models):
    metrics, times = {"accuracy": 0.839, "NLL": 0.4851, "ECE": 0.0412}, {1: 0.0123, 32: 1234.5}
    row = Row("", metrics, 12_345_678, 9_345_678, 0.5, 12_345_678, times, times, 256_000_000)
    names = ["float", "int8", "pruned 80 % + clustered", "dynamic", *"abcd"][:models]
    printed = io.StringIO()
    console = Console(file=printed, width=80)
    console.print(tables([dataclasses.replace(row, name=name) for name in names], 50, 80))
    text = printed.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    parts = text.split("Compression, 50 samples")[1:]
    assert len(parts) == {1: 1, 3: 1, 8: 3}[models]
    assert all("float" in part for part in parts), "what the others are compared with"
    for shown in ("0.8390", "12,345,678", "ms, batch 32, p95", *names[:2], names[-1]):
        assert shown in text


def test_latency_and_memory_of_fresh_processes(measured):
    rows, _, _ = measured
    for row in rows:
        assert sorted(row.latency_ms) == [1, 32]
        assert all(0 < ms <= row.latency_p95_ms[size] for size, ms in row.latency_ms.items())
    assert rows[2].peak_memory_bytes < rows[0].peak_memory_bytes / 3, "LiteRT needs no TensorFlow"
    assert rows[2].peak_memory_bytes > 10e6


def test_what_is_printed_and_written(measured):
    rows, printed, folder = measured
    for text in ("Compression, 50 samples", "a file", "0.8000", "KB zipped", "batch 32, p95"):
        assert text in printed
    written = json.loads((folder / "out" / "table.json").read_text())
    assert written["samples"] == 50
    assert [row["bytes"] for row in written["rows"]] == [row.bytes for row in rows]
    assert Image.open(folder / "out" / "table.png").width > 600


def test_metrics_of_the_user_and_labels_of_several_outputs(inputs):
    model = mm.build_mcnn({"a": mm.Features(64)}, {"kind": 3, "size": mm.Regression(1)}, width=8)
    labels = {"kind": np.eye(3)[np.zeros(50, int)], "size": np.ones((50, 1))}
    data = tf.data.Dataset.from_tensor_slices(({"a": inputs["a"]}, labels)).batch(20)

    def error(labels, predictions):
        return np.abs(labels["size"] - predictions["size"]).mean()

    def kind(labels, predictions):
        return np.mean(predictions["kind"].argmax(-1) == 0)

    (row,) = mm.compress.report(
        {"only": model},
        data,
        metrics={"MAE": error, "kind": kind},
        runs=1,
        console=Console(quiet=True),
    )
    predicted = model.predict({"a": inputs["a"]}, verbose=0)
    assert row.metrics == pytest.approx(
        {
            "MAE": np.abs(1 - predicted["size"]).mean(),
            "kind": np.mean(predicted["kind"].argmax(-1) == 0),
        },
        abs=1e-5,
    )
    with pytest.raises(ValueError, match="`metrics` must be given for what is not one class"):
        mm.compress.report({"only": model}, data)


def test_bad_arguments(model, test_set, inputs, tmp_path):
    report = mm.compress.report
    with pytest.raises(ValueError, match="`variants` must be a dict of at least one model"):
        report({}, test_set)
    with pytest.raises(TypeError, match="Received for 'x': an object of type int"):
        report({"x": 1}, test_set)
    with pytest.raises(TypeError, match=r"`dataset` must be a tf\.data\.Dataset"):
        report({"x": model}, inputs)
    with pytest.raises(ValueError, match=r"`dataset` must give \(\{name: array\}, labels\)"):
        report({"x": model}, tf.data.Dataset.from_tensor_slices(inputs).batch(2))
    renamed = test_set.map(lambda x, y: ({"a": x["a"], "bb": x["b"]}, y))
    with pytest.raises(ValueError, match=r"of 'x'\. Did you mean 'bb'\? .* without 'b'"):
        report({"x": model}, renamed)
    with pytest.raises(ValueError, match="at least one sample"):
        report({"x": model}, test_set.take(0))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="`path` must be where files can be written"):
        report({"x": model}, test_set, path=tmp_path / "file" / "table")


def test_sensitivity_is_that_of_zeros_set_by_hand(model, test_set, inputs, labels):
    before = model.get_weights()
    printed = io.StringIO()
    costs = mm.compress.sensitivity(
        model, test_set, sparsity=[0.9], console=Console(file=printed, width=200)
    )
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert [cost.branch for cost in costs] == ["a", "b", "after fusion"]
    assert [cost.parameters for cost in costs] == [64 * 64, 6 * 64, 128 * 4]
    names = {"a": "a_projection", "b": "b_projection", "after fusion": "label_logits"}
    for cost in costs:
        kernel = model.get_layer(names[cost.branch]).kernel
        values = kernel.numpy()
        limit = np.sort(np.abs(values), axis=None)[round(0.9 * values.size) - 1]
        kernel.assign(np.where(np.abs(values) <= limit, 0, values))
        answers = model.predict(inputs, verbose=0)["label"].argmax(-1)
        kernel.assign(values)
        assert cost.metrics["accuracy"] == pytest.approx(np.mean(answers == labels))
        assert cost.change["accuracy"] == pytest.approx(cost.metrics["accuracy"] - 0.8)
    assert "after fusion" in printed.getvalue()


def test_sensitivity_quantizes_one_branch_at_a_time(model, test_set, monkeypatch):
    asked = []

    def record(model, *, representative, keep_float):
        asked.append(set(keep_float))
        return model

    monkeypatch.setattr(sys.modules["mm_keras.compress.sensitivity"], "quantize", record)
    quiet = Console(quiet=True)
    costs = mm.compress.sensitivity(
        model, test_set, sparsity=[], representative=test_set, console=quiet
    )
    assert [cost.method for cost in costs] == ["int8"] * 3
    names = ("a_projection", "b_projection", "label_logits")
    for own, kept in zip(names, asked, strict=True):
        assert set(names) & kept == set(names) - {own}


def test_bad_shares(model, test_set):
    with pytest.raises(ValueError, match="`sparsity` must be at least 0"):
        mm.compress.sensitivity(model, test_set, sparsity=[1.0])
    with pytest.raises(ValueError, match="must leave something to compress"):
        mm.compress.sensitivity(model, test_set, sparsity=[])
