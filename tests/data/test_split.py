"""Splits of a table: disjoint, of the size asked, and the same for a seed."""

import numpy as np
import pytest

import mm_keras as mm

COUNT = 1000
TABLE = {
    "x": list(range(COUNT)),
    "person": [f"p{n % 97}" for n in range(COUNT)],
    "kind": ["rare" if n % 20 == 0 else "common" for n in range(COUNT)],
    "part": np.array(["train", "test"], object)[np.arange(COUNT) % 2],
}
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@pytest.mark.parametrize("options", [{}, {"stratify": "kind"}, {"group": "person"}])
def test_every_row_is_in_one_split_of_about_the_share(options):
    parts = mm.data.split_table(TABLE, SHARES, **options)
    assert list(parts) == list(SHARES)
    assert sorted(x for part in parts.values() for x in part["x"]) == TABLE["x"]
    for split, share in SHARES.items():
        slack = 20 if "group" in options else 1
        assert len(parts[split]["x"]) == pytest.approx(share * COUNT, abs=slack)
        assert parts[split]["kind"] == [TABLE["kind"][n] for n in parts[split]["x"]]


def test_groups_stay_together_and_strata_keep_their_shares():
    parts = mm.data.split_table(TABLE, SHARES, group="person")
    people = [set(part["person"]) for part in parts.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 97
    parts = mm.data.split_table(TABLE, SHARES, stratify="kind")
    assert [part["kind"].count("rare") for part in parts.values()] == [35, 5, 10]


def test_the_seed_decides():
    one, same, other = (mm.data.split_table(TABLE, SHARES, seed=seed) for seed in (1, 1, 2))
    assert one["test"]["x"] == same["test"]["x"] != other["test"]["x"]


def test_by_a_column():
    parts = mm.data.split_table(TABLE, by="part")
    assert parts["train"]["x"] == list(range(0, COUNT, 2))
    assert sorted(parts) == ["test", "train"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Either `fractions` or `by` must be given"),
        ({"fractions": SHARES, "by": "part"}, "Either `fractions` or `by`"),
        ({"fractions": {"train": 0.7, "test": 0.2}}, r"must sum to 1.*sum to 0\.9"),
        ({"fractions": {"train": 1.0, "test": -1.0}}, r"`fractions\['test'\]` must be at least"),
        ({"fractions": SHARES, "group": "persen"}, "`group`.*Did you mean 'person'"),
        ({"fractions": SHARES, "group": "person", "stratify": "kind"}, "not be given together"),
        ({"by": "part", "group": "person"}, "not be given with `by`"),
        ({"fractions": {"a": 0.9999, "b": 0.0001}}, r"leave none to \['b'\]"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        mm.data.split_table(TABLE, **options)
