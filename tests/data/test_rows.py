"""Rows know where they come from: messages name the line or row of the table before it was split,
and parts of one table number its classes alike."""

import csv
import logging

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.data import TableSource

OPTIONAL = {"x": mm.Features(1, optional=True)}
SHARES = {"train": 0.5, "test": 0.5}


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "mm_keras.data")


@pytest.fixture
def shop(tmp_path):
    """A CSV of 20 rows, of which one is blank and one goes over two lines; two labels are bad."""
    lines = ["x,text,kind"]
    for n in range(20):
        kind = "" if n in (3, 17) else "ab"[n % 2]
        lines.append(f'{n},"a\nb",{kind}' if n == 5 else f"{n},t,{kind}")
    lines.insert(2, "")
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


LINES = {6, 21}  # of rows 3 and 17, as an editor numbers them


def features(table, **options):
    return mm.data.from_table(table, OPTIONAL, inputs={"x": ["x"]}, labels="kind", **options)


def test_messages_name_the_line_of_the_file(shop):
    text = shop.read_text(encoding="utf-8").splitlines()
    assert [text[line - 1] for line in sorted(LINES)] == ["3,t,", "17,t,"]
    with pytest.raises(ValueError, match=r"shop\.csv, line 6, labels: kind: an empty cell\. Mend"):
        features(shop)


def test_parts_of_a_split_name_the_line_of_the_whole_file(shop):
    report = mm.data.BadRecords()
    for seed in (0, 1):
        parts = mm.data.split_table(shop, SHARES, seed=seed)
        again = mm.data.split_table(parts["train"], {"train": 0.5, "validation": 0.5})
        for part in (*again.values(), parts["test"]):
            features(part, on_error="drop", report=report)
        assert {record.line for record in report} == LINES
        assert {record.row for record in report} == {3, 17}
    assert {record.origin.split(", ")[1] for record in report} <= {"train", "validation", "test"}


def test_rows_of_a_table_in_memory_are_those_before_the_split(shop):
    columns = dict(mm.data.read_table(shop))
    parts = mm.data.split_table(columns, SHARES)
    report = mm.data.BadRecords()
    for part in parts.values():
        features(part, on_error="drop", report=report)
    assert {(r.row, r.line) for r in report} == {(3, None), (17, None)}
    assert all(columns["kind"][record.row] == "" for record in report)
    bad = next(part for part in parts.values() if "" in part["kind"])
    message = rf"^table, {bad.split}, row (3|17), labels.*Rows are counted from 0, before any split"
    with pytest.raises(ValueError, match=message):
        features(bad)


def test_tables_without_a_name_are_told_apart_in_a_report():
    report = mm.data.BadRecords()
    for _ in range(2):
        features({"x": [1.0, 2.0], "kind": ["a", None]}, on_error="drop", report=report)
    assert [(r.origin, r.row) for r in report] == [("table", 1), ("table 2", 1)]


def test_a_part_that_was_filtered_by_hand_counts_its_own_rows():
    part = mm.data.split_table({"x": list(range(9)), "kind": [""] * 9}, {"all": 1.0})["all"]
    for name, cells in list(part.items()):
        part[name] = cells[4:6]
    report = mm.data.BadRecords()
    features(part, on_error="drop", report=report)
    assert [record.row for record in report] == [0, 1]


def test_sources_of_several_files_name_each(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("x,kind\n1,u\n2,\n3,v\n", encoding="utf-8")
    paths = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv")}
    source = TableSource(path=paths, labels="kind", inputs={"x": ["x"]}, on_error="drop")
    fold = source.parted({"train": (["train", "test"], np.array([1, 4]))})
    list(source.samples("test", OPTIONAL))
    list(fold.samples("train", OPTIONAL))
    a, b = paths.values()
    assert {(r.origin, r.line) for r in source.report} == {(f"{b}, test", 3)}
    assert {(r.origin, r.line) for r in fold.report} == {(f"{a}, train", 3), (f"{b}, train", 3)}


def test_train_writes_the_lines(shop, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(f"""
modalities: {{x: {{type: Features, shape: 1}}}}
builder: {{num_classes: 2, width: 4}}
dataset: {{type: table, path: {shop}, inputs: {{x: [x]}}, labels: kind, validation: null,
  on_error: drop, fractions: {{train: 0.5, test: 0.5}}}}
fit: {{epochs: 1}}
output: {tmp_path / "out"}
""")
    assert main(["train", str(config)]) == 0
    with (tmp_path / "out/bad_records.csv").open(encoding="utf-8", newline="") as file:
        assert {int(row["line"]) for row in csv.DictReader(file)} == LINES


ANIMALS = {"x": list(range(9)), "kind": ["cat"] + ["dog", "owl"] * 4}


def ids(table, **options):
    return {int(label) for _, label in features(table, **options)}


def test_parts_number_the_classes_of_the_whole_table():
    table = {**ANIMALS, "part": ["train"] * 5 + ["test"] * 4}
    parts = mm.data.split_table(table, by="part")
    assert ids(parts["train"]) == {0, 1, 2}
    assert ids(parts["test"]) == {1, 2}  # cat, which is 0, is not among them
    halves = mm.data.split_table(parts["test"], SHARES, seed=1)
    assert ids(halves["train"]) | ids(halves["test"]) == {1, 2}
    assert ids(parts["test"], classes=["dog", "owl"]) == {0, 1}  # what is said goes first
    assert ids({**parts["test"]}) == {0, 1}  # a table of its own


def test_a_column_made_anew_is_named_from_itself():
    part = mm.data.split_table({**ANIMALS, "part": ["a"] * 5 + ["b"] * 4}, by="part")["b"]
    part["kind"] = [{"dog": "Hund", "owl": "Eule"}[name] for name in part["kind"]]
    assert ids(part) == {0, 1}


@pytest.mark.parametrize("cells", [[1, 2, 4], np.array([1, 2, 4]), np.array([1, 2, 4], object)])
def test_whole_numbers_are_ids_in_a_list_as_in_an_array(cells):
    assert ids({"x": np.zeros(3), "kind": cells}) == {1, 2, 4}


def test_texts_are_names_and_fractions_are_numbers():
    assert ids({"x": np.zeros(3), "kind": ["1", "2", "4"]}) == {0, 1, 2}
    for cells in ([0.5, 1, 2.25], np.array([0.5, 1.0, 2.25])):
        labels = [float(label) for _, label in features({"x": np.zeros(3), "kind": cells})]
        assert labels == [0.5, 1.0, 2.25]
    table = {"x": np.zeros(3), "kind": [3, None, 0]}
    assert ids(table, on_error={"labels": "drop"}) == {0, 3}


def test_ids_that_seem_to_count_from_one_are_warned_of(caplog):
    caplog.set_level(logging.WARNING, "mm_keras.data")
    table = {"x": np.zeros(4), "kind": [1, 2, 3, 4]}
    features(table)
    assert "'kind' are the ids 1…4" in caplog.text
    assert "classes=['1', '2', '3', '4']" in caplog.text
    assert ids(table, classes=["1", "2", "3", "4"]) == {0, 1, 2, 3}
    caplog.clear()
    features(table, classes="ids")  # it is said
    for kind in ([0, 1, 2, 3], [5, 6, 7, 9], ["1", "2", "3", "4"]):
        features({"x": np.zeros(4), "kind": kind})
    whole = {"x": np.zeros(4), "kind": np.array([0, 1, 2, 1]), "part": ["a", "b", "b", "b"]}
    assert ids(mm.data.split_table(whole, by="part")["b"]) == {1, 2}
    assert not caplog.text
