"""Rows of single modalities: what the file says of the others is left out, and nothing else."""

import dataclasses

import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.data import ArraySource
from mm_keras.experiments import read_comparison
from mm_keras.experiments.config import SOURCES, Experiment
from mm_keras.experiments.narrowing import OF_SOURCES, narrowed
from mm_keras.experiments.preparation import Preparation
from mm_keras.models.heads import check_heads
from tests.media import picture, write_picture

CONFIG = """
modalities:
  photo: {type: Image, shape: [8, 8, 3], backbone: SmallCNN, optional: true}
  row: {type: Tabular, numeric: [price], optional: true}
  extra: {type: Features, shape: 1}
builder: {num_classes: 2, width: 4}
compare:
  seeds: 1
  systems: {all: {name: build_mcnn}}
dataset:
  type: table
  path: shop.csv
  labels: kind
  split: part
  batch_size: 8
  inputs: {photo: file, extra: [size]}
  on_error: {photo: absent, row: absent, labels: drop}
  resize: {photo: crop}
  exif: {photo: false}
  augment: {row: {TabularNoise: {scale: 0.1}}}
  drop_modalities: {photo: 0.5, row: 0.1}
  mix: {method: mixup, whole: [row, extra]}
fit: {epochs: 1}
output: out
"""


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    """Twenty-four rows with a broken picture, a bad price and a lacking label."""
    monkeypatch.chdir(tmp_path)
    lines = ["file,price,size,kind,part"]
    for n in range(24):
        write_picture(tmp_path / f"{n}.png", picture(9 * n))
        price = "dear" if n == 1 else n
        kind = "" if n == 8 else ["hat", "shoe"][n % 2]
        part = ["train", "train", "validation", "test"][n // 2 % 4]
        lines.append(f"{n}.png,{price},{n / 4},{kind},{part}")
    (tmp_path / "0.png").write_bytes(b"no picture")
    (tmp_path / "shop.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")


def prepared(experiment):
    """Returns one epoch of training."""
    modalities = experiment.source.adapt(experiment.modalities, "train")
    heads = check_heads(experiment.num_classes)
    batches = experiment.source.batches("train", modalities, 8)
    return list(experiment.preparation(batches, modalities, heads, 8, 0).as_numpy_iterator())


@pytest.mark.parametrize("name", ["photo", "row", "extra"])
def test_every_single_modality_has_its_own_options(name):
    row = read_comparison("config.yaml").rows()[f"{name} only"]
    kept = {"labels": "drop"} if name == "extra" else {name: "absent", "labels": "drop"}
    assert row.source.on_error == kept
    assert row.preparation.mix["whole"] == [other for other in ("row", "extra") if other == name]
    assert list(row.preparation.augment) == (["row"] if name == "row" else [])
    batches = prepared(row)
    assert {key.removesuffix("_present") for key in batches[0][0]} == {name}
    assert sum(len(labels) for _, labels in batches) == 11  # all but the one without a label
    if name == "photo":
        assert row.source.resize == {"photo": "crop"}
        assert row.source.report.reasons() == {
            "an empty cell": 1,
            "no picture in PNG, JPEG, BMP or GIF": 1,
        }


def test_systems_keep_everything():
    comparison = read_comparison("config.yaml")
    assert comparison.rows()["all"].source == comparison.experiment.source
    assert comparison.rows()["all"].preparation == comparison.experiment.preparation


@pytest.mark.slow
def test_the_command_compares_them(tmp_path, capsys):
    plain = [line for line in CONFIG.split("\n") if "TabularNoise" not in line]
    (tmp_path / "config.yaml").write_text("\n".join(plain), encoding="utf-8")
    assert main(["compare", "config.yaml"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("photo only", "row only", "extra only", "all"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{photo: file", "{phto: file", "`dataset.inputs` must.*'photo', 'row', 'extra'.*'photo'"),
        ("{photo: absent", "{phto: absent", "`dataset.on_error` must have names.*'labels'"),
        ("exif: {photo", "exif: {labels", "`dataset.exif` must have names.*Received: 'labels'"),
    ],
)
def test_a_name_of_no_modality_is_an_error(tmp_path, capsys, old, new, message):
    (tmp_path / "config.yaml").write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_comparison("config.yaml").rows()
    assert main(["compare", "config.yaml"]) == 2
    assert "must have names of modalities" in " ".join(capsys.readouterr().err.split())


def test_every_option_of_every_source_is_known():
    """A new one must be entered among those by modality, or here."""
    others = {
        *("path", "cache", "labels", "classes", "weights", "split", "group", "fractions"),
        *("stratify", "split_seed", "root", "modalities", "name", "data_dir", "options"),
    }
    for cls in SOURCES.values():
        fields = {field.name for field in dataclasses.fields(cls)}
        assert fields <= others | {*OF_SOURCES}, cls


def test_options_of_builders_and_callbacks():
    modalities = {name: mm.Features(2) for name in ("left", "right", "sound")}
    whole = Experiment(
        modalities=modalities,
        num_classes=2,
        source=ArraySource(path="data.npz"),
        options={
            "share_backbone": [("left", "right")],
            "share_encoder": True,
            "backbones": {"left": ["SmallCNN"]},
            "width": 3,
        },
        callbacks={
            "ModalityRates": {"rates": {"sound": 0.1, "left_projection": 2.0, "label": 0.5}},
            "GradualUnfreezing": {"until": {"sound": 1}},
            "EarlyStopping": {"patience": 1},
        },
    )
    left = narrowed(whole, ["left"])
    assert left.options == {
        "share_backbone": False,
        "share_encoder": True,
        "backbones": {"left": ["SmallCNN"]},
        "width": 3,
    }
    assert left.callbacks == {
        "ModalityRates": {"rates": {"left_projection": 2.0, "label": 0.5}},
        "EarlyStopping": {"patience": 1},
    }
    sound = narrowed(whole, ["sound"])
    assert sound.options["backbones"] is None
    assert sound.callbacks["ModalityRates"] == {"rates": {"sound": 0.1, "label": 0.5}}
    both = narrowed(whole, ["left", "right"])
    assert both.options["share_backbone"] == [["left", "right"]]


def test_a_rate_for_all_needs_one_that_can_be_dropped():
    whole = Experiment(
        modalities={"a": mm.Features(2, optional=True), "b": mm.Features(2)},
        num_classes=2,
        source=ArraySource(path="data.npz"),
        preparation=Preparation(drop_modalities=0.5),
    )
    assert narrowed(whole, ["a"]).preparation.drop_modalities == 0.5
    assert narrowed(whole, ["b"]).preparation.drop_modalities is None
