"""mm.Tabular: what is learnt from columns, and the rows made of them."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

import mm_keras as mm

COLUMNS = {"age": [20.0, 30.0, 40.0], "city": ["Rome", "Oslo", "Rome"], "job": ["x", "y", "z"]}


class Frame:
    """Behaves like a DataFrame: names in iteration and `in`, columns that are array-like."""

    class Column:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype=dtype)

    def __init__(self, columns):
        self.columns = columns

    def __iter__(self):
        return iter(self.columns)

    def __contains__(self, name):
        return name in self.columns

    def __getitem__(self, name):
        return self.Column(self.columns[name])


@pytest.fixture
def spec():
    return mm.Tabular(numeric=("age",), categorical={"city": None, "job": ("z", "x")})


def test_adapt_learns_moments_and_open_vocabularies(spec):
    adapted = spec.adapt(COLUMNS)
    assert adapted.mean == (30.0,)
    assert adapted.variance == pytest.approx((200 / 3,))
    assert adapted.categorical == {"city": ("Oslo", "Rome"), "job": ("z", "x")}
    assert adapted.vocabulary_sizes == (3, 3)
    assert spec.mean == ()


def test_encode(spec):
    columns = {"age": [1.5, 2], "city": ["Rome", "Paris"], "job": ["x", "z"]}
    rows = spec.adapt(COLUMNS).encode(columns)
    assert rows.dtype == "float32"
    assert rows.tolist() == [[1.5, 2.0, 2.0], [2.0, 0.0, 1.0]]  # Paris is unknown: 0


def test_data_frames(spec):
    adapted = spec.adapt(Frame(COLUMNS))
    assert adapted == spec.adapt(COLUMNS)
    np.testing.assert_array_equal(adapted.encode(Frame(COLUMNS)), adapted.encode(COLUMNS))


@pytest.mark.parametrize(
    "values",
    [[b"a", b"b"], np.array([b"a", b"b"], dtype=object), [3, 1], [0.1, 2.5], [True, False]],
    ids=["bytes", "objects", "integers", "floats", "bools"],
)
def test_encode_knows_every_category_that_adapt_saw(values):
    spec = mm.Tabular(categorical={"c": None}).adapt({"c": values})
    assert sorted(spec.encode({"c": values}).ravel()) == [1, 2]


def test_bytes_are_the_strings_they_spell():
    spec = mm.Tabular(categorical={"c": ("a", "b")})
    assert spec.encode({"c": [b"b", b"a"]}).tolist() == [[2.0], [1.0]]


def crossed():
    return mm.Tabular(
        categorical={"city": ("Rome",), "job": ("x",)},
        wide=(("city", "job"), ("job", "city")),
        wide_buckets=2**24,
    )


def test_crosses_depend_on_both_columns_and_lie_within_the_buckets():
    columns = {"city": ["a", "a", "b", "a"], "job": ["x", "y", "x", "x"]}
    buckets = crossed().encode(columns)[:, 2:]
    assert buckets.min() >= 0
    assert buckets.max() < 2**24
    assert (buckets == np.floor(buckets)).all()
    assert len(set(buckets[:3, 0])) == 3
    np.testing.assert_array_equal(buckets[0], buckets[3])
    few = mm.Tabular(categorical=crossed().categorical, wide=crossed().wide, wide_buckets=2)
    assert set(few.encode(columns)[:, 2]) <= {0.0, 1.0}


def test_crosses_are_the_same_in_another_process():
    columns = {"city": ["Rome", "Paris"], "job": ["x", "y"]}
    code = f"""
import mm_keras as mm
spec = mm.Tabular.from_config({crossed().get_config()!r})
print("rows", spec.encode({columns!r}).tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"rows {crossed().encode(columns).tolist()}" in done.stdout


ERRORS = [
    (lambda s: s.encode(COLUMNS), r"call `spec = spec.adapt\(columns\)`.*none for: \['city'\]"),
    (
        lambda s: s.adapt(COLUMNS).encode({**COLUMNS, "age": [20.0, float("nan"), 40.0]}),
        r"`columns\['age'\]` must be finite: fill missing values first. Received: nan in row 1",
    ),
    (
        lambda s: s.adapt(COLUMNS).encode({**COLUMNS, "age": [1.0, 2.0, float("inf")]}),
        r"`columns\['age'\]` must be finite.*inf in row 2",
    ),
    (
        lambda s: s.adapt({**COLUMNS, "age": ["young", "old", "old"]}),
        r"^`columns\['age'\]` must be numbers. Received: 'young' in row 0\.$",
    ),
    (
        lambda s: s.adapt({**COLUMNS, "age": [1.0, None, float("-inf")]}),
        r"^`columns\['age'\]` must be finite. Received: -inf in row 2\.$",
    ),
    (
        lambda s: s.adapt({**COLUMNS, "age": ["", None, " "]}),
        r"`columns\['age'\]` must have a number in some row. Received: empty cells only",
    ),
    (
        lambda s: s.adapt({"agge": [1.0], "city": ["x"], "job": ["x"]}),
        r"^`columns` must have the column 'age'. Did you mean 'agge'\? Received: \['agge', .*\]\.$",
    ),
    (
        lambda s: s.adapt({"age": [1.0]}),
        r"`columns` must have the column 'city'. Received: \['age'\]",
    ),
    (
        lambda s: s.adapt(COLUMNS).encode({**COLUMNS, "job": ["x"]}),
        r"`columns` must all have one length. Received: lengths \[1, 3\]",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_errors(spec, call, message):
    with pytest.raises(ValueError, match=message):
        call(spec)


MISSING = [None, float("nan"), "", "  "]
CONTAINERS = [list, lambda values: np.array(values, dtype=object)]


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("container", CONTAINERS)
def test_adapt_passes_over_empty_cells(spec, missing, container):
    columns = {
        "age": container(["20", missing, 40.0]),
        "city": container(["Rome", missing, " Oslo "]),
        "job": ["x"] * 3,
    }
    adapted = spec.adapt(columns)
    assert adapted.mean == (30.0,)
    assert adapted.variance == (100.0,)
    assert adapted.categorical["city"] == ("Oslo", "Rome")


@pytest.mark.parametrize("missing", MISSING[:2])
@pytest.mark.parametrize("container", CONTAINERS)
def test_missing_categories_are_not_encoded(spec, missing, container):
    columns = {**COLUMNS, "city": container(["Rome", missing, "Oslo"])}
    with pytest.raises(ValueError, match=r"`columns\['city'\]` must have no missing.*in row 1"):
        spec.adapt(COLUMNS).encode(columns)


def test_what_from_table_takes_can_be_adapted_to(spec, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("age,city,job,label\n20, Rome,x,a\n,,,b\n40,Oslo,z,a\n", encoding="utf-8")
    columns = mm.data.read_table(path)
    table = {"table": dataclasses.replace(spec.adapt(columns), optional=True)}
    inputs, _ = next(iter(mm.data.from_table(path, table).batch(3)))
    assert inputs["table"].numpy().tolist() == [[20, 2, 2], [0, 0, 0], [40, 1, 1]]
    columns["age"][2] = "forty"
    with pytest.raises(ValueError, match=r"`columns\['age'\]`.*'forty' in line 4"):
        spec.adapt(columns)
