"""Comparisons: fair rows, right statistics, and nothing done twice after a crash."""

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import compare, read_comparison

CONFIG = """
modalities:
  strong: {type: Features, shape: 4}
  weak: {type: Features, shape: 3}
builder: {num_classes: 3, width: 8, dropout: 0.1}
compare:
  seeds: 2
  systems:
    concat: {name: build_mcnn}
    gated: {name: build_mcnn, fusion: gated, width: 6}
    dynamic: {name: build_dfn}
dataset: {type: arrays, path: data.npz, labels: y, split: part, batch_size: 50}
compile: {learning_rate: 0.01}
fit: {epochs: 3}
output: out
"""
ROWS = ["strong only", "weak only", "concat", "gated", "dynamic"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds the data and the configuration."""
    folder = tmp_path_factory.mktemp("comparison")
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=900)
    np.savez(
        folder / "data.npz",
        strong=(1.5 * np.eye(3, 4)[y] + rng.normal(size=(900, 4))).astype("float32"),
        weak=(0.7 * np.eye(3, 3)[y] + rng.normal(size=(900, 3))).astype("float32"),
        y=y,
        part=np.array(["train", "train", "validation", "test"])[np.arange(900) % 4],
    )
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def compared(folder):
    """A run of the command that is killed in the middle and started again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mm_keras", "compare", "config.yaml"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    runs = folder / "out" / "runs"
    deadline = time.monotonic() + 240
    while len(list(runs.glob("*.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*.json")}
    assert 3 <= len(finished) < 10
    assert not (folder / "out" / "comparison.json").exists()
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["compare", "config.yaml"]) == 0
    finally:
        os.chdir(before)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    return json.loads((folder / "out" / "comparison.json").read_text())


@pytest.mark.slow
def test_every_row_is_there_after_a_crash(compared, folder):
    assert [row["name"] for row in compared["rows"]] == ROWS
    assert compared["metric"] == "accuracy"
    assert len(list((folder / "out" / "runs").glob("*.json"))) == 10
    by_name = {row["name"]: row for row in compared["rows"]}
    assert by_name["strong only"]["mean"] > by_name["weak only"]["mean"] > 0.35
    assert by_name["concat"]["mean"] > by_name["weak only"]["mean"]
    for row in compared["rows"]:
        assert len(row["values"]) == 2
        assert min(row["parameters"], row["mflops"], row["latency_ms"]) > 0


@pytest.mark.slow
def test_statistics(compared):
    by_name = {row["name"]: row for row in compared["rows"]}
    best = by_name["strong only"]["values"]
    assert by_name["strong only"]["p"] is None
    for row in compared["rows"]:
        low, high = stats.t.interval(
            0.95, 1, loc=statistics.mean(row["values"]), scale=stats.sem(row["values"])
        )
        assert row["interval"] == pytest.approx((high - low) / 2)
        if row["p"] is not None:
            difference = np.subtract(row["values"], best)
            t = difference.mean() / (difference.std(ddof=1) / 2**0.5)
            assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), 1))


@pytest.mark.slow
def test_what_is_written(compared, folder):
    with (folder / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ROWS
    assert float(rows[0]["mean"]) == compared["rows"][0]["mean"]
    assert (folder / "out" / "comparison.png").stat().st_size > 5000


@pytest.mark.slow
def test_another_comparison_does_not_go_on_there(compared, folder, capsys):
    (folder / "other.yaml").write_text(CONFIG.replace("epochs: 3", "epochs: 4"))
    assert main(["compare", "other.yaml"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "that of the same comparison" in message
    assert len(list((folder / "out" / "runs").glob("*.json"))) == 10


def test_rows_share_what_the_experiment_says(folder):
    rows = read_comparison("config.yaml").rows()
    assert list(rows) == ROWS
    assert list(rows["weak only"].modalities) == ["weak"]
    assert rows["weak only"].options == {"width": 8, "dropout": 0.1}
    assert rows["gated"].options == {"width": 6, "dropout": 0.1, "fusion": "gated"}
    assert rows["dynamic"].builder == "build_dfn"
    assert rows["dynamic"].options == {"width": 8, "dropout": 0.1}
    assert {experiment.epochs for experiment in rows.values()} == {3}


def test_without_single_modalities_and_with_one_seed_there_is_no_test(folder, tmp_path):
    text = CONFIG.replace("seeds: 2", "seeds: 1\n  singles: false").replace(
        "epochs: 3", "epochs: 1"
    )
    (folder / "one.yaml").write_text(text)
    found = compare(read_comparison("one.yaml"), tmp_path / "one")
    assert [row.name for row in found.rows] == ROWS[2:]
    assert all(row.p is None and row.interval is None for row in found.rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("compare:", "comparison:", "must have the key 'compare'"),
        ("seeds: 2", "seed: 2", "`compare` must have keys out of.*Did you mean 'seeds'"),
        ("seeds: 2", "seeds: 0", "`compare.seeds` must be an integer of at least 1"),
        ("seeds: 2", "singles: 1", "`compare.singles` must be a bool"),
        ("seeds: 2", "folds: 1", "`compare.folds` must be an integer of at least 2"),
        ("gated: {name: build_mcnn", "gated: {name: build_mcn", "compare.systems.gated.name.*mean"),
        ("fusion: gated", "fuse: gated", "`compare.systems.gated` must have keys out of.*fusion"),
        ("concat: {", "weak only: {", r"not be named as.*\['weak only'\]"),
    ],
)
def test_errors(folder, old, new, message):
    (folder / "bad.yaml").write_text(CONFIG.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_comparison("bad.yaml")


@pytest.mark.slow
def test_folds_by_the_command(folder, capsys):
    """Every sample is tested once, by every row alike, and the statistics are corrected."""
    text = CONFIG.replace("seeds: 2", "seeds: 1").replace("epochs: 3", "epochs: 1")
    text = "\n".join(x for x in text.split("\n") if "gated" not in x and "dynamic" not in x)
    (folder / "folds.yaml").write_text(text.replace("output: out", "output: in_folds"))
    assert main(["compare", "folds.yaml", "--folds", "2"]) == 0
    assert "2 folds; mean ± 95 % interval" in capsys.readouterr().out
    runs = folder / "in_folds" / "runs"
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*.json")}
    assert len(finished) == 3 * 2
    lost = next(path for path in finished if path.name.endswith("-0-1.json"))
    lost.unlink()
    assert main(["compare", "folds.yaml", "--folds", "2"]) == 0
    again = {path: path.stat().st_mtime_ns for path in runs.glob("*.json")}
    assert {path for path in again if again[path] != finished[path]} == {lost}
    found = json.loads((folder / "in_folds" / "comparison.json").read_text())
    assert found["folds"] == 2
    best = max(found["rows"][:2], key=lambda row: row["mean"])
    for row in found["rows"]:
        error = np.std(row["values"], ddof=1) * np.sqrt(1 / 2 + 1)
        assert row["interval"] == pytest.approx(stats.t.ppf(0.975, 1) * error)
        if row["p"] is not None:
            difference = np.subtract(row["values"], best["values"])
            t = difference.mean() / (difference.std(ddof=1) * np.sqrt(1 / 2 + 1))
            assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), 1))
    assert main(["compare", "folds.yaml", "--folds", "3"]) == 2  # another comparison


def test_flops_in_closed_form():
    model = mm.build_mcnn({"a": mm.Features(100)}, 10, width=50)
    multiplied = 2 * (100 * 50 + 50 * 10)
    assert multiplied < mm.exporting.flops(model) < 1.05 * multiplied
    trained = mm.build_mcnn({"a": mm.Features(100)}, 10, width=50, auxiliary_heads=True)
    assert mm.exporting.flops(trained) == mm.exporting.flops(model)
