"""Comparisons that go on: what is unchanged is read, what is other is said, nothing is mixed."""

import csv
import json
import pathlib

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.data import ArraySource, FolderSource, TableSource
from mm_keras.data.sources import TFRecordSource
from mm_keras.datasets.source import Source
from mm_keras.experiments import Compared, ComparedRow, Experiment, compare, read_comparison
from mm_keras.experiments.data_files import WHOLE_BYTES, data_digest
from tests.media import picture, write_picture

CONFIG = """
modalities:
  a: {type: Features, shape: 4}
  b: {type: Features, shape: 3}
builder: {num_classes: 3, width: 4}
compare:
  seeds: 1
  singles: false
  systems:
    concat: {name: build_mcnn}
    gated: {name: build_mcnn, fusion: gated}
dataset: {type: arrays, path: data.npz, labels: y, split: part, batch_size: 60}
compile: {jit_compile: false}
fit: {epochs: 1}
output: out
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_arrays(np.arange(60) % 3)
    return tmp_path


def write_arrays(y):
    rng = np.random.default_rng(0)
    np.savez(
        "data.npz",
        a=rng.normal(size=(60, 4)).astype("float32"),
        b=rng.normal(size=(60, 3)).astype("float32"),
        y=y,
        part=np.repeat(["train", "validation", "test"], 20),
    )


def compared(text, capsys):
    """Returns the exit status, all that was printed, and the finished runs."""
    pathlib.Path("config.yaml").write_text(text, encoding="utf-8")
    status = main(["compare", "config.yaml"])
    printed = capsys.readouterr()
    runs = {path: path.stat().st_mtime_ns for path in pathlib.Path("out/runs").glob("*.json")}
    return status, " ".join((printed.out + printed.err).split()), runs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fusion: gated", "fusion: gatd", "row 'gated': `fusion` must be one of"),
        ("fusion: gated", "modality_dropout: 3", "row 'gated': `modality_dropout` must be"),
        ("num_classes: 3", "num_classes: 2", "row 'concat': `num_classes` must be above"),
        ("path: data.npz", "path: data.npz, inputs: {b: c}", "row 'concat': `inputs['b']` must"),
        ("singles: false", "singles: true\n  folds: 90", "`compare.folds` must be at most"),
        (", split: part", ", fractions: {train: 0.5, test: 0.5}", "`dataset.validation` must be"),
    ],
)
def test_what_can_not_be_trained_is_found_before_the_first_training(capsys, old, new, message):
    status, printed, runs = compared(CONFIG.replace(old, new), capsys)
    assert status == 2
    assert message in printed
    assert not runs
    assert not pathlib.Path("out").exists()


@pytest.mark.slow
def test_what_is_unchanged_is_not_trained_again(capsys):
    status, printed, first = compared(CONFIG, capsys)
    assert status == 0
    assert "1 seed" in printed
    assert len(first) == 2

    # One system is changed, one is added; later one is removed, and the change is taken back.
    more = CONFIG.replace("gated}", "gated, width: 5}\n    sum: {name: build_mcnn, fusion: sum}")
    status, printed, second = compared(more, capsys)
    assert status == 0
    assert "Trained anew, since settings are others than in out/runs: gated." in printed
    assert {path: second[path] for path in first} == first
    assert len(second) == 4
    status, printed, third = compared(
        CONFIG.replace("    concat: {name: build_mcnn}\n", ""), capsys
    )
    assert status == 0
    assert "anew" not in printed
    assert third == second
    table = json.loads(pathlib.Path("out/comparison.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["gated"]

    # All are changed, or the data are: that is another comparison.
    status, printed, after = compared(CONFIG.replace("epochs: 1", "epochs: 2"), capsys)
    assert status == 2
    assert "whose runs have other settings of ['concat', 'gated']" in printed
    original = pathlib.Path("data.npz").read_bytes()
    write_arrays(np.arange(60)[::-1] % 3)
    status, printed, after = compared(CONFIG, capsys)
    assert status == 2
    assert "whose runs have other data: its files were others when they were trained" in printed
    assert after == second
    assert json.loads(pathlib.Path("out/comparison.json").read_text()) == table
    pathlib.Path("data.npz").write_bytes(original)  # at another time, with the same contents
    assert compare(read_comparison("config.yaml"), "out").rows[0].name == "concat"


def one(source, spec):
    return Experiment(modalities={"x": spec}, num_classes=2, source=source)


IMAGE = mm.Image((8, 8, 3), backbone="SmallCNN")


def table(folder):
    write_picture(folder / "photos" / "0.png", picture(10))
    write_picture(folder / "photos" / "1.png", picture(20))
    (folder / "t.csv").write_text("file,label,split\n0.png,a,train\n1.png,b,test\n")
    source = TableSource(path="t.csv", split="split", root="photos", inputs={"x": "file"})
    return one(source, IMAGE), ["t.csv", "photos/1.png"]


def folders(folder):
    for split in ("train", "test"):
        write_picture(folder / split / "cat" / "0.png", picture(10))
    source = FolderSource(path={"train": "train", "test": "test"}, modalities={"x": IMAGE})
    return one(source, IMAGE), ["test/cat/0.png"]


def records(folder):
    spec = {"x": mm.Features(2)}
    data = mm.data.from_arrays({"x": np.ones((4, 2), "float32")}, [0, 1, 0, 1], spec)
    mm.data.write_tfrecords(data, folder / "shards" / "train", spec, shards=1)
    (shard,) = (folder / "shards" / "train").glob("*.tfrecord*")
    return one(TFRecordSource(path="shards"), mm.Features(2)), [str(shard)]


@pytest.mark.parametrize("make", [table, folders, records])
@pytest.mark.parametrize("whole", [True, False])
def test_changed_files_are_noticed(folder, monkeypatch, make, whole):
    if not whole:
        monkeypatch.setattr("mm_keras.experiments.data_files.WHOLE_BYTES", 1)
    experiment, paths = make(folder)
    seen = [data_digest(experiment)]
    assert data_digest(experiment) == seen[0]
    for path in paths:
        content = bytearray(pathlib.Path(path).read_bytes())
        content[-1] ^= 1
        pathlib.Path(path).write_bytes(content)
        seen.append(data_digest(experiment))
    assert len(set(seen)) == len(paths) + 1
    assert WHOLE_BYTES > 1


def test_data_of_tfds_are_those_of_its_folder(digits_folder):
    source = Source("av_digits", data_dir=str(digits_folder))
    assert pathlib.Path(source.folder()).is_relative_to(digits_folder)
    assert list(pathlib.Path(source.folder()).glob("*.tfrecord*"))
    other = one(ArraySource(path="data.npz", split="part"), mm.Features(4))
    assert data_digest(one(source, IMAGE)) != data_digest(other)


FIGURES = {"parameters": 30, "mflops": 0.000074, "training_seconds": 1.0, "latency_ms": 1.0}


def test_small_models_have_flops_and_files_have_every_value(folder):
    small = ComparedRow("a only", (0.5, 0.25, 0.5, 0.75), FIGURES)
    large = ComparedRow("both", (0.5, 0.5, 1.0, 1.0), {**FIGURES, "mflops": 1234.567})
    found = Compared((small, large), "accuracy", folds=2, best="a")
    cells = next(column for column in found.table().columns if column.header == "MFLOP")
    assert list(cells.cells) == ["0.000074", "1,234.57"]
    found.write(folder)
    with open("comparison.csv", encoding="utf-8", newline="") as file:
        row, _ = csv.DictReader(file)
    names = ["seed_0_fold_0", "seed_0_fold_1", "seed_1_fold_0", "seed_1_fold_1"]
    assert [float(row[name]) for name in names] == list(small.values)
    assert json.loads(pathlib.Path("comparison.json").read_text())["best_modality"] == "a"
    Compared((small, large), "accuracy").write(folder)
    assert "seed_0,seed_1,seed_2,seed_3" in pathlib.Path("comparison.csv").read_text()
