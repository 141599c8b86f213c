"""The guide to tables runs in order, on such a table; the page of keys has every key."""

import csv
import inspect
import os
import pathlib
import re

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import comparison, config
from mm_keras.experiments.preparation import KEYS
from tests.media import write_picture

DOCS = pathlib.Path(__file__).parent.parent / "docs"
ROWS = 120


def blocks(page, language):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def write_shop(folder):
    """A table like that of the page, with empty cells, broken files and a row without a label."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        kind = ["hat", "shoe"][number % 2]
        shade = 60 + 120 * (number % 2)
        picture = rng.integers(shade, shade + 60, (24 + number % 3, 24, 3)).astype("uint8")
        write_picture(folder / "photos" / f"{number}.png", picture)
        title = "" if number % 10 == 1 else f"a {['red', 'blue'][number % 3 % 2]} {kind}"
        price = "" if number % 15 == 2 else str(10 + number % 20)
        rows.append([f"photos/{number}.png", title, price, ["Oslo", "Lima"][number % 4 // 2], kind])
    (folder / "photos" / "7.png").write_bytes(b"broken")
    rows[9][2], rows[11][4] = "abc", ""
    header = ["photo", "title", "price", "city", "kind"]
    for name, table in {
        "shop.csv": [header, *rows],
        "new.csv": [row[:4] for row in [header, *rows[:8]]],
    }.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)


@pytest.mark.slow
def test_the_guide_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path)
    (text,) = blocks("tables.md", "yaml")
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    commands = [line for block in blocks("tables.md", "sh") for line in block.splitlines()]
    assert [line.split()[1] for line in commands] == ["inspect", "train", "predict", "export"]
    for line in commands:
        assert main(line.split()[1:]) == 0, capsys.readouterr().err
    with open("predicted.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ["hat", "shoe"] * 4
    assert [row["predicted_kind"] for row in rows] == kinds
    bad = pathlib.Path("runs/shop/bad_records.csv").read_text(encoding="utf-8")
    assert {"7.png" in bad, "abc" in bad, "an empty cell" in bad} == {True}
    assert os.path.getsize("runs/shop/model.tflite") > 10_000

    found = {}
    for number, block in enumerate(blocks("tables.md", "python"), start=1):
        exec(compile(block, f"tables.md, block {number}", "exec"), found)
    assert [["hat", "shoe"][number] for number in found["predicted"].argmax(axis=1)] == kinds
    card = mm.exporting.read_card("runs/shop/model.tflite")
    assert card["classes"] == {"label": ["hat", "shoe"]}


def test_the_page_of_keys_has_every_key():
    page = (DOCS / "experiments.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_]+)`", page))
    fields = {
        field.name for cls in config.SOURCES.values() for field in config.dataclasses.fields(cls)
    }
    splits = {field.name for field in config.dataclasses.fields(config.Splits)}
    wanted = {*fields, *splits, *KEYS, *config.COMPILE, "epochs", "callbacks", "checkpoint_steps"}
    wanted |= {*inspect.signature(comparison.Comparison).parameters} - {"experiment"}
    assert wanted <= told
