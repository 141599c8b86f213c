"""Columns that know where their rows come from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Place(NamedTuple):
    """Where one row stands.

    Args:
        file: Path; `""`: in memory.
        row: Its number in the whole table, from 0.
        line: The line of the file that it begins at, from 1; `None`: there are no lines.
    """

    file: str
    row: int
    line: int | None = None


@dataclasses.dataclass(frozen=True)
class Places:
    """Where N rows stand, whatever has been taken from where since.

    Args:
        files: Paths; `""`: in memory.
        file: `(N,)`: the number in `files` of what each row comes from.
        rows: `(N,)`: the number of each row in there, from 0.
        lines: `(N,)`: the line that it begins at, from 1; 0: there are no lines.
    """

    files: tuple[str, ...]
    file: np.ndarray
    rows: np.ndarray
    lines: np.ndarray

    @classmethod
    def whole(cls, count: int, file: str = "", lines: Sequence[int] | None = None) -> "Places":
        """Returns the places of all rows of a table."""
        found = np.zeros(count, "int64") if lines is None else np.asarray(lines, "int64")
        return cls((file,), np.zeros(count, "int64"), np.arange(count), found)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Place:
        return Place(self.files[self.file[row]], int(self.rows[row]), int(self.lines[row]) or None)

    def take(self, rows: Sequence[int]) -> "Places":
        """Returns the places of some rows."""
        return Places(self.files, self.file[rows], self.rows[rows], self.lines[rows])

    @staticmethod
    def joined(parts: Sequence["Places"]) -> "Places":
        """Returns the places of the rows of several tables, one after the other."""
        starts = np.cumsum([0, *(len(part.files) for part in parts)])
        return Places(
            tuple(file for part in parts for file in part.files),
            np.concatenate([part.file + start for part, start in zip(parts, starts, strict=False)]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.lines for part in parts]),
        )


class Rows(dict):
    """`{column: cells}` as `read_table` and `split_table` return it: a dict, and what it is of.

    A copy by `dict(…)` or `{**…}` is a table of its own, whose rows count from 0 again.

    Args:
        columns: `{column: cells}`.
        places: Of the rows; `None`, or of another number of rows: those of a table in memory.
        split: The name of the split that this is; `""`: it is all of a table.
        whole: `{column: cells}` of the table that this is a part of, which classes are named from.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]] = (),
        places: Places | None = None,
        split: str = "",
        whole: Mapping[str, Sequence[Any]] | None = None,
    ):
        super().__init__(columns)
        count = len(next(iter(self.values()), ()))
        self.places = places if places and len(places) == count else Places.whole(count)
        self.split = split
        self.whole = dict(whole or {})

    def take(self, rows: Sequence[int], split: str = "") -> "Rows":
        """Returns some rows, as a split of that name."""
        taken = {
            name: cells[rows] if isinstance(cells, np.ndarray) else [cells[row] for row in rows]
            for name, cells in self.items()
        }
        whole = {n: c for n, c in self.items() if not isinstance(c, np.ndarray) or c.ndim == 1}
        return Rows(taken, self.places.take(rows), split, {**whole, **self.whole})
