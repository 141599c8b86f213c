"""`mm-keras inspect`: counts that are right, what is broken, and a picture."""

import re

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments import inspect_data
from tests.media import picture, tone, write_picture, write_wav


@pytest.fixture(autouse=True)
def wide_console(monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")


def printed(tmp_path, capsys, *arguments):
    sheet = tmp_path / "pictures/sheet.png"
    assert main(["inspect", *map(str, arguments), "--output", str(sheet)]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    return capsys.readouterr().out


def cells(text, first):
    """The cells of the first printed table row that begins so."""
    line, *_ = [line for line in text.splitlines() if re.match(rf"│ {first} +│", line)]
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.fixture
def csv(tmp_path):
    rows = ["photo,sound,title,price,kind"]
    for n in range(30):
        write_picture(tmp_path / f"{n}.png", picture(8 * n, (8, 8) if n else (9, 7)))
        write_wav(tmp_path / f"{n}.wav", tone(800, 8000), 8000)
        sound = "" if n % 3 == 0 else f"{n}.wav"
        rows.append(f"{n}.png,{sound},a {chr(97 + n % 26)}{n} thing,{n},{'ab'[n % 5 == 0]}")
    (tmp_path / "4.png").write_bytes(b"hello")
    (tmp_path / "5.png").unlink()
    (tmp_path / "data.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "data.csv"


def test_csv(csv, tmp_path, capsys):
    text = printed(tmp_path, capsys, csv, "--labels", "kind")
    assert "Column 'photo' is taken for Image." in text
    assert cells(text, "photo") == ["photo", "Image", "8 × 8 × 3: 27", "0 / 2"]
    assert cells(text, "sound") == ["sound", "Audio", "800 × 8000: 20", "10 / 0"]
    assert cells(text, "title")[1] == "Text"
    assert cells(text, "table")[1:] == ["Tabular", "1", "0 / 0"]
    assert "9 × 7 × 3: 1" in text
    assert cells(text, "usable samples")[3] == "30"
    assert cells(text, "a") == ["a", "24", "80.0"]
    assert cells(text, "b") == ["b", "6", "20.0"]
    assert "2 broken records:" in text
    assert "4.png: no picture in PNG, JPEG, BMP or GIF" in text
    assert "5.png: there is no such file" in text


def untidy(tmp_path):
    """A CSV whose prices hold two cells that are no numbers, and which lacks a label."""
    rows = ["title,price,code,nothing,labels,kind"]
    for n in range(60):
        price = {7: "abc", 40: "nan"}.get(n, f"{n}.49")
        code = n if n < 40 else f"x{n}"
        rows.append(
            f"{['red', 'blue'][n % 2]},{price},{code},,{n} w,{'' if n == 9 else 'ab'[n % 2]}"
        )
    path = tmp_path / "untidy.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_row_without_a_label_cannot_be_used(tmp_path, capsys):
    text = printed(tmp_path, capsys, untidy(tmp_path), "--labels", "kind")
    assert cells(text, "usable samples")[3] == "59"
    assert "untidy.csv, all, line 11, labels: kind: an empty cell" in text
    assert "no label" not in text


def test_every_column_is_announced_with_its_bad_cells(tmp_path, capsys):
    text = printed(tmp_path, capsys, untidy(tmp_path), "--labels", "kind")
    assert "Column 'title' is taken for categories of Tabular, 2 different ones.\n" in text
    bad = "'abc' in line 9, 'nan' in line 42"
    but = f", but 2 of 60 cells are none: {bad}.\n"
    assert f"Column 'price' is taken for numbers of Tabular{but}" in text
    assert "Column 'code' is taken for Text, though 67% of its cells are numbers.\n" in text
    assert "Column 'nothing' is left out: it is empty.\n" in text
    assert "Column 'labels' is taken for Text.\n" in text
    assert "line 9, table: column 'price': no finite number: 'abc'" in text
    assert "line 42, table: column 'price': no finite number: 'nan'" in text
    assert cells(text, "table")[1:] == ["Tabular", "2", "0 / 2"]


def test_samples_are_spread_over_the_classes(csv):
    found = inspect_data(csv, labels="kind", samples=6)
    assert found.titles == ["a"] * 3 + ["b"] * 3
    assert found.inputs["photo"].shape == (6, 8, 8, 3)
    assert inspect_data(csv, samples=2).titles == ["no label"] * 2


def test_folder_with_splits_and_modalities(tmp_path, capsys):
    for split, count in (("train", 6), ("test", 4)):
        for n in range(count):
            kind = ["cat", "dog"][n % 2]
            write_picture(tmp_path / f"pets/{split}/image/{kind}/{n}.jpg", picture(99))
            if n:
                write_wav(tmp_path / f"pets/{split}/audio/{kind}/{n}.wav", tone(800, 8000), 8000)
    (tmp_path / "pets/test/image/cat/2.jpg").write_bytes(b"")
    text = printed(tmp_path, capsys, tmp_path / "pets")
    assert cells(text, "audio")[3:] == ["1 / 0", "1 / 0"]
    assert cells(text, "image")[3:] == ["0 / 0", "0 / 1"]
    assert cells(text, "cat") == ["cat", "3", "50.0", "2", "50.0"]
    assert "2.jpg: an empty file" in text


def test_plain_folder_of_classes(tmp_path, capsys):
    for n in range(3):
        write_picture(tmp_path / f"pets/{'xy'[n % 2]}/{n}.png", picture(99))
    text = printed(tmp_path, capsys, tmp_path / "pets", "--samples", "2")
    assert cells(text, "x") == ["x", "2", "66.7"]
    assert "No broken records." in text


def test_yaml(csv, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(f"""
modalities:
  photo: {{type: Image, shape: [8, 8, 3], backbone: SmallCNN}}
  sound: {{type: Audio, samples: 800, sample_rate: 8000, optional: true}}
builder: {{num_classes: 2}}
dataset: {{type: table, path: {csv}, labels: kind, validation: null,
  fractions: {{train: 0.5, test: 0.5}}}}
""")
    text = printed(tmp_path, capsys, config)
    lacking = [cell.split(" / ") for cell in cells(text, "photo")[3:]]
    # As in training: 9 × 7 pixels are an error, and a sample without a picture is none.
    assert [missing for missing, _ in lacking] == ["0", "0"]
    assert sum(int(broken) for _, broken in lacking) == 3
    assert sum(map(int, cells(text, "usable samples")[3:])) == 27
    assert "the spec wants 8x8 pixels" in text


def test_tfrecords(tmp_path, capsys):
    modalities = {"a": mm.Features(2)}
    data = mm.data.from_arrays({"a": np.ones((4, 2))}, [0, 1, 1, 1], modalities)
    mm.data.write_tfrecords(data, tmp_path / "x/train", modalities, classes=["no", "yes"])
    text = printed(tmp_path, capsys, tmp_path / "x")
    assert cells(text, "yes") == ["yes", "3", "75.0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "existing file or folder"),
        (["data.csv", "--labels", "kid"], "Did you mean 'kind'"),
        (["empty"], "files in folders of classes"),
        (["flat"], "a folder for each class"),
    ],
)
def test_what_cannot_be_inspected(csv, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/1.png").write_bytes(b"")
    assert main(["inspect", str(tmp_path / arguments[0]), *arguments[1:]]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
