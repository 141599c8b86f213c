"""Rows of a table to training, validation and test."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mm_keras._checks import check_int, check_number
from mm_keras.data.cells import column, read_table
from mm_keras.data.rows import Rows


class Strata(NamedTuple):
    """What decides how samples are split.

    Args:
        count: Number n of samples.
        labels: `(n,)`: of which each part is to have its share; `None`: none.
        groups: `(n,)`: of which none may be in two parts; `None`: none.
    """

    count: int
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None


def split_table(
    table: Any,
    fractions: Mapping[str, float] | None = None,
    *,
    by: str | None = None,
    group: str | None = None,
    stratify: str | None = None,
    seed: int = 0,
) -> dict[str, Rows]:
    """Returns `{split: columns}`: parts of a table that have no row in common.

    A part knows which rows of the whole table it has, for messages, and the classes of the whole
    table: `from_table` gives these the same ids in every part, whichever classes a part lacks.

    Args:
        table: As `read_table` takes it.
        fractions: `{split: share of the rows}`, which sum to 1; drawn at random.
        by: Instead of `fractions`, a column that names the split of each row.
        group: A column; rows of one value (a person, a product) stay in one split, so that what is
            tested was not seen in training. Splits then have about the shares asked for.
        stratify: A column; each of its values is split by itself, so that splits have the same
            shares of each.
        seed: Of the drawing; the same seed gives the same splits.

    Raises:
        ValueError: If arguments don't fit together, or a split would be empty.

    Example:

    >>> import mm_keras as mm
    >>> parts = mm.data.split_table({"x": list(range(10))}, {"train": 0.8, "test": 0.2})
    >>> {split: len(columns["x"]) for split, columns in parts.items()}
    {'train': 8, 'test': 2}
    """
    columns = read_table(table)
    count = len(next(iter(columns.values())))
    if (fractions is None) == (by is None):
        raise ValueError(
            "Either `fractions` or `by` must be given. "
            f"Received: fractions={fractions!r}, by={by!r}."
        )
    check_int("seed", seed, minimum=0)
    if by is not None:
        if group is not None or stratify is not None:
            raise ValueError(
                "`group` and `stratify` must not be given with `by`, which says it all. "
                f"Received: group={group!r}, stratify={stratify!r}."
            )
        names = np.array([str(cell) for cell in column(columns, by, "by")], object)
        return {
            name: columns.take(np.flatnonzero(names == name), name) for name in sorted(set(names))
        }
    if group is not None and stratify is not None:
        raise ValueError(
            "`group` and `stratify` must not be given together. "
            f"Received: group={group!r}, stratify={stratify!r}."
        )
    splits, ends = _ends(fractions)
    random = np.random.default_rng(seed)
    place = np.empty(count, int)  # the split of each row
    if stratify is not None:
        values = np.array([str(cell) for cell in column(columns, stratify, "stratify")], object)
        for value in sorted(set(values)):
            rows = np.flatnonzero(values == value)
            place[random.permutation(rows)] = _places(np.ones(len(rows)), ends)
    elif group is not None:
        cells = [str(cell) for cell in column(columns, group, "group")]
        _, member, sizes = np.unique(cells, return_inverse=True, return_counts=True)
        order = random.permutation(len(sizes))
        place_of = np.empty(len(sizes), int)
        place_of[order] = _places(sizes[order], ends)
        place = place_of[member]
    else:
        place[random.permutation(count)] = _places(np.ones(count), ends)
    parts = {split: np.flatnonzero(place == number) for number, split in enumerate(splits)}
    empty = [split for split, rows in parts.items() if not len(rows)]
    if empty:
        raise ValueError(
            f"`fractions` must leave at least one row to every split. Received: {dict(fractions)} "
            f"of {count} rows, which leave none to {empty}."
        )
    return {split: columns.take(rows, split) for split, rows in parts.items()}


def _ends(fractions: Any) -> tuple[list[str], np.ndarray]:
    if not isinstance(fractions, Mapping) or not fractions:
        raise TypeError(f"`fractions` must be {{split: share}}. Received: fractions={fractions!r}.")
    for split, share in fractions.items():
        check_number(f"fractions[{split!r}]", share, minimum=1e-9)
    total = sum(fractions.values())
    if not np.isclose(total, 1.0):
        raise ValueError(
            f"`fractions` must sum to 1. Received: {dict(fractions)}, which sum to {total:g}."
        )
    return list(fractions), np.cumsum(list(fractions.values()))


def _places(sizes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the split of each of a row of units: the one that its middle falls into."""
    middles = (np.cumsum(sizes) - sizes / 2) / np.sum(sizes)
    return np.minimum(np.searchsorted(ends, middles, side="right"), len(ends) - 1)
