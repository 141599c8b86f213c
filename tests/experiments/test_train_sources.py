"""`mm-keras train` from every source, with small real files."""

import dataclasses
import json
import re

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import read_config
from tests.media import picture, tone, write_picture, write_wav

CONFIG = """
modalities:
  image: {{type: Image, shape: [8, 8, 3], backbone: SmallCNN}}
  audio: {{type: Audio, samples: 800, sample_rate: 8000, optional: true, mel_bins: 8}}
{more}
builder: {{name: build_mcnn, num_classes: 2, width: 8}}
dataset: {dataset}
compile: {{learning_rate: 0.01}}
fit: {{epochs: 1}}
output: {output}
"""
TEXT = """  title: {type: Text, max_tokens: 4, vocabulary_size: 20}
  table: {type: Tabular, numeric: [price], categorical: {city: null}}"""
FRACTIONS = "fractions: {train: 0.5, validation: 0.25, test: 0.25}"
COUNT = 16
KINDS = ["hat", "shoe"]


def train(tmp_path, dataset, more=""):
    config = tmp_path / "config.yaml"
    text = CONFIG.format(more=more, dataset=dataset, output=tmp_path / "out")
    config.write_text(text, encoding="utf-8")
    status = main(["train", str(config), "--overwrite"])
    if status == 0:
        (row,) = json.loads((tmp_path / "out/metrics.json").read_text())["models"]
        assert 0 <= row["test"]["accuracy"] <= 1
        assert "val_accuracy" in row["history"]
    return status


@pytest.fixture
def table(tmp_path):
    rows = ["photo,sound,title,price,city,kind,part"]
    for n in range(COUNT):
        write_picture(tmp_path / f"{n}.png", picture(10 * n))
        write_wav(tmp_path / f"{n}.wav", tone(800, 8000), 8000)
        part = ["train", "train", "validation", "test"][n // 2 % 4]
        sound = "" if n == 3 else f"{n}.wav"
        rows.append(f"{n}.png,{sound},red {KINDS[n % 2]},{n},Oslo,{KINDS[n % 2]},{part}")
    (tmp_path / "shop.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "shop.csv"


INPUTS = "inputs: {image: photo, audio: sound}, labels: kind, batch_size: 4"


def test_table_with_fractions_drops_and_lists_bad_records(table, tmp_path, capsys):
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "6.png").unlink()
    dataset = f"{{type: table, path: {table}, {INPUTS}, {FRACTIONS}, on_error: drop}}"
    assert train(tmp_path, dataset, TEXT) == 0
    assert "2 bad records: see bad_records.csv" in capsys.readouterr().out
    assert "an empty file" in (tmp_path / "out/bad_records.csv").read_text(encoding="utf-8")


def test_a_modality_that_is_bad_nearly_everywhere_is_told_of_at_the_end(tmp_path, capsys):
    rows = [
        f"{n},{'red' if n % 8 else n},{n % 2},{'test' if n % 4 > 1 else 'train'}" for n in range(32)
    ]
    (tmp_path / "shop.csv").write_text("x,price,kind,part\n" + "\n".join(rows), encoding="utf-8")
    config = tmp_path / "config.yaml"
    text = f"""
modalities:
  x: {{type: Features, shape: 1}}
  table: {{type: Tabular, numeric: [price], optional: true}}
builder: {{num_classes: 2, width: 4}}
dataset: {{type: table, path: {tmp_path / "shop.csv"}, inputs: {{x: [x]}}, labels: kind,
  validation: null, split: part, on_error: {{table: absent}}}}
fit: {{epochs: 1}}
output: {tmp_path / "out"}
"""
    config.write_text(text, encoding="utf-8")
    assert main(["train", str(config)]) == 0
    printed = "".join(capsys.readouterr().out.split())  # a long path is cut where the line ends
    for words in (
        "28 bad records: see bad_records.csv. At least 12 of 16 samples of",
        "shop.csv, train (75%) go without 'table', since 'table' is bad",
    ):
        assert words.replace(" ", "") in printed
    config.write_text(text.replace("[price]", "[part]"), encoding="utf-8")
    assert main(["train", str(config), "--overwrite"]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "`numeric` must be columns of numbers. Received: 'part', without any" in printed


@pytest.mark.slow
def test_table_with_a_column_of_splits_and_an_error(table, tmp_path, capsys):
    dataset = f"{{type: table, path: {table}, {INPUTS}, split: part, cache: true}}"
    assert train(tmp_path, dataset, TEXT) == 0
    (tmp_path / "0.png").write_bytes(b"hello")
    assert train(tmp_path, dataset, TEXT) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "0.png: no picture in PNG, JPEG, BMP or GIF. Mend it" in printed


@pytest.mark.slow
def test_table_for_each_split(table, tmp_path):
    lines = table.read_text(encoding="utf-8").splitlines()
    for split, rows in (("train", lines[1:9]), ("validation", lines[9:13]), ("test", lines[13:])):
        (tmp_path / f"{split}.csv").write_text("\n".join([lines[0], *rows]), encoding="utf-8")
    paths = ", ".join(f"{s}: {tmp_path}/{s}.csv" for s in ("train", "validation", "test"))
    assert train(tmp_path, f"{{type: table, path: {{{paths}}}, {INPUTS}}}", TEXT) == 0


@pytest.mark.slow
@pytest.mark.parametrize("split", ["folders", "fractions"])
def test_folder(tmp_path, split):
    root = tmp_path / "data"
    for n in range(COUNT):
        part = f"{['train', 'validation', 'test'][n // 2 % 3]}/" if split == "folders" else ""
        write_picture(root / f"{part}image/{KINDS[n % 2]}/{n}.png", picture(10 * n))
        write_wav(root / f"{part}audio/{KINDS[n % 2]}/{n}.wav", tone(800, 8000), 8000)
    more = f", {FRACTIONS}, stratify: label" if split == "fractions" else ""
    assert train(tmp_path, f"{{type: folder, path: {root}, batch_size: 4{more}}}") == 0


def batches(count):
    return {
        "image": np.stack([picture(n) for n in range(count)]),
        "audio": np.ones((count, 800), "float32"),
        "audio_present": np.arange(count) % 2 == 0,
    }


@pytest.mark.slow
def test_arrays(tmp_path):
    arrays = batches(COUNT)
    np.savez(tmp_path / "a.npz", **arrays, y=np.arange(COUNT) % 2)
    dataset = f"{{type: arrays, path: {tmp_path}/a.npz, labels: y, {FRACTIONS}, batch_size: 4}}"
    assert train(tmp_path, dataset) == 0
    experiment = read_config(tmp_path / "config.yaml")
    samples = experiment.source.samples("train", experiment.modalities)
    inputs, _ = next(samples.batch(99).as_numpy_iterator())
    gone = ~inputs["audio_present"][:, 0]
    assert 0 < gone.sum() < len(gone)
    assert not inputs["audio"][gone].any()


@pytest.mark.slow
def test_tfrecord_with_the_stored_vocabulary(tmp_path):
    title = mm.Text(4, 20).adapt(["red hat", "red shoe"])
    modalities = {
        "image": mm.Image((8, 8, 3), backbone="SmallCNN"),
        "audio": mm.Audio(800, 8000, optional=True),
        "title": title,
    }
    for split in ("train", "validation", "test"):
        arrays = batches(8) | {"title": title.vectorize(["red hat", "red shoe"] * 4)}
        data = mm.data.from_arrays(arrays, [0, 1] * 4, modalities)
        mm.data.write_tfrecords(data, tmp_path / "shards" / split, modalities, shards=2)
    dataset = f"{{type: tfrecord, path: {tmp_path}/shards, batch_size: 4}}"
    assert train(tmp_path, dataset, TEXT.splitlines()[0]) == 0
    experiment = read_config(tmp_path / "config.yaml")
    adapted = experiment.source.adapt(experiment.modalities, "train")
    assert adapted["title"].vocabulary == title.vocabulary


def test_classes_are_those_of_all_splits_and_numbers_where_a_head_predicts_them(table, tmp_path):
    config = tmp_path / "config.yaml"
    text = f"""
modalities: {{image: {{type: Image, shape: [8, 8, 3], backbone: SmallCNN}}}}
builder: {{num_classes: {{kind: 2, price: {{type: Regression, units: 1}}}}}}
dataset: {{type: table, path: {table}, inputs: {{image: photo}}, split: part,
  labels: {{kind: kind, price: price}}}}
"""
    config.write_text(text)
    source = read_config(config).source
    assert source.label_names == {"kind": ("hat", "shoe"), "price": "numbers"}
    assert source.classes_of("kind") == ("hat", "shoe")
    assert source.classes_of("price") == ()
    listed = dataclasses.replace(source, classes={"kind": ["shoe", "hat"]})
    assert listed.classes_of("kind") == ("shoe", "hat")
    _, labels = next(iter(source.samples("test", read_config(config).modalities)))
    assert labels["price"].dtype == "float32"


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("{type: tabel, path: x.csv}", "`dataset.type`.*Did you mean 'table'"),
        ("{type: table, path: x.csv, input: {}}", "`dataset`.*Did you mean 'inputs'"),
        ("{type: table}", r"`dataset` must have the keys \['path'\]"),
        ("{type: folder, path: x, labels: y}", "`dataset` must have keys.*'labels'"),
        ("{type: table, path: absent.csv, split: part}", "existing CSV file"),
        ("{type: arrays, path: absent.npz, split: part}", r"existing \.npz file"),
        ("{type: folder, path: absent}", "existing folder"),
        ("{type: tfrecord, path: absent}", r"must hold schema\.json"),
        ("{type: table, path: TABLE, labels: kind}", "must say what is training and what is test"),
        ("{type: table, path: TABLE, labels: kind, split: prat}", "`by`.*Did you mean 'part'"),
        (
            "{type: table, path: TABLE, labels: kind, split: part, train: training}",
            "`dataset.train` must be one of the splits.*Did you mean 'train'",
        ),
    ],
)
def test_descriptions_that_do_not_fit(table, tmp_path, capsys, dataset, message):
    assert train(tmp_path, dataset.replace("TABLE", str(table))) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
