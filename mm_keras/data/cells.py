"""The cells of a table: as text, as numbers, or missing."""

import csv
import gzip
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras._checks import nearest
from mm_keras.data.rows import Places, Rows
from mm_keras.modalities import cells as any_cells

Columns = dict[str, Sequence[Any]]


class FileText(str):
    """The text of a file, which it names; with a `reason` if it could not be read.

    Args:
        text: What the file holds.
        path: Of the file.
        reason: Why it holds no text; `""`: it does.
    """

    def __new__(cls, text: str, path: str, reason: str = "") -> "FileText":
        self = super().__new__(cls, text)
        self.path, self.reason = path, reason
        return self


def read_table(table: Any, delimiter: str | None = None) -> Rows:
    """Returns the columns of a table, whatever it is: a dict that knows the lines of its file.

    Args:
        table: The path of a CSV file (UTF-8, with a header; .tsv by tabs; .gz unpacked), a pandas
            DataFrame, or `{column: values}`. Cells of a CSV file are texts; those of other tables
            are left as they are.
        delimiter: Of a CSV file; `None`: a tab for .tsv and .tsv.gz, a comma for others.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a row has more or fewer cells than the header, or columns differ in length.

    Example:

    >>> import mm_keras as mm
    >>> sorted(mm.data.read_table({"title": ["red shoe", "hat"], "price": [20.0, 5.0]}))
    ['price', 'title']
    """
    if isinstance(table, str | os.PathLike):
        return _read_csv(pathlib.Path(table), delimiter)
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        names = [str(name) for name in table.columns]
        columns = {name: np.asarray(table.iloc[:, place]) for place, name in enumerate(names)}
    elif isinstance(table, Mapping):
        columns = {
            str(name): values if isinstance(values, np.ndarray) else list(values)
            for name, values in table.items()
        }
        if isinstance(table, Rows):
            columns = Rows(columns, table.places, table.split, table.whole)
    else:
        raise TypeError(
            "`table` must be the path of a CSV file, a DataFrame, or {column: values}. "
            f"Received: {type(table).__name__}."
        )
    lengths = {name: len(values) for name, values in columns.items()}
    columns = columns if isinstance(columns, Rows) else Rows(columns)
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        raise ValueError(
            f"`table` must have columns of one length, at least 1. Received lengths: {lengths}."
        )
    return columns


def _read_csv(path: pathlib.Path, delimiter: str | None) -> Rows:
    if not path.is_file():
        raise FileNotFoundError(f"`table` must be an existing CSV file. Received: table={path}.")
    if delimiter is None:
        delimiter = "\t" if ".tsv" in path.suffixes else ","
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader, [])
        if len(set(header)) != len(header) or not header:
            raise ValueError(
                f"{path} must begin with the names of its columns, each once. Received: {header}."
            )
        rows, lines, line = [], [], reader.line_num + 1
        for row in reader:
            if row:
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1  # a quoted cell may go over several
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise ValueError(
                f"{path} must have {len(header)} cells in every row, as in the header. "
                f"Received: {len(row)} in line {line}: {row}."
            )
    if not rows:
        raise ValueError(f"{path} must have at least one row below the header. Received: none.")
    columns = zip(header, zip(*rows, strict=True), strict=True)
    return Rows(
        {name: list(values) for name, values in columns},
        Places.whole(len(rows), os.fspath(path), lines),
    )


def column(columns: Columns, name: Any, argument: str) -> Sequence[Any]:
    """Returns a column, or raises with the nearest name."""
    if name not in columns:
        raise ValueError(
            f"`{argument}` must be a column of the table, one of {sorted(columns)}."
            f"{nearest(name, columns)} Received: {name!r}."
        )
    return columns[name]


def is_missing(cell: Any) -> bool:
    """Returns whether a cell is empty; the text of a file is there, empty or not."""
    return not isinstance(cell, FileText) and any_cells.is_missing(cell)


def missing(cells: Sequence[Any]) -> np.ndarray:
    """Returns which cells are empty, `(N,)` bool."""
    return np.array([is_missing(cell) for cell in cells], bool)


def texts(cells: Sequence[Any]) -> list[str]:
    """Returns cells as text, empty ones as `""`."""
    return ["" if is_missing(cell) else str(cell).strip() for cell in cells]
