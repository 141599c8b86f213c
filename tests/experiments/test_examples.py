"""The files of examples/: one for each builder, and each trains."""

import json
import pathlib

import numpy as np
import pytest
import yaml

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import read_comparison, read_config

FOLDER = pathlib.Path(__file__).parents[2] / "examples"
COMPARISON = FOLDER / "compare.yaml"
EXAMPLES = sorted({*FOLDER.glob("*.yaml")} - {COMPARISON})


def test_every_builder_has_an_example():
    assert {read_config(path).builder for path in EXAMPLES} == set(mm.BUILDERS)


def test_the_comparison_is_read():
    rows = read_comparison(COMPARISON).rows()
    assert list(rows) == ["audio only", "image only", "concat", "gated", "dynamic"]


def write_views(path):
    """Twelve objects of ten classes, seen six times: a stripe whose place is the class."""
    y = np.arange(12) % 10
    x = np.random.default_rng(0).uniform(0, 60, (12, 6, 32, 32, 3)).astype("uint8")
    for sample, label in zip(x, y, strict=True):
        sample[:, 3 * label : 3 * label + 3] = 250
    np.savez(path, x=x, y=y, part=np.array(["train", "validation", "test"] * 4))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_trains_and_ships(path, tmp_path, digits_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_views("views.npz")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["fit"]["epochs"] = 1
    if "data_dir" not in config["dataset"] and "name" in config["dataset"]:
        config["dataset"]["data_dir"] = str(digits_folder)
    pathlib.Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["train", "config.yaml", "--output", "out"]) == 0
    (row,) = json.loads(pathlib.Path("out/metrics.json").read_text())["models"]
    figures = [value for key, value in row["test"].items() if key.endswith("accuracy")]
    assert all(0 <= figure <= 1 for figure in figures)
    assert len(figures) >= 1
    assert (pathlib.Path("out") / "model.keras").is_file()


def test_a_target_is_for_build_afe_alone(tmp_path):
    text = (FOLDER / "afe.yaml").read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("build_afe", "build_mcnn").replace(", method: dann", ""))
    with pytest.raises(ValueError, match=r"`dataset.target` must be given with build_afe"):
        read_config(path)
