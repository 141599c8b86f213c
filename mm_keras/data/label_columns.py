"""Columns of labels: names of classes, ids, or numbers."""

import logging
import numbers as kinds_of_numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras._checks import nearest
from mm_keras.data.cells import Columns, column, is_missing
from mm_keras.modalities.cells import numbers

KINDS = ("ids", "numbers")
Bad = dict[int, tuple[str, str]]

logger = logging.getLogger("mm_keras.data")


def class_names(values: Sequence[Any]) -> tuple[str, ...]:
    """Returns the distinct values as texts, in the order that gives them their ids.

    Whole numbers come by size, all else by the alphabet. Parts of `split_table` share them. Of
    tables that come one for each split, take them from the training split and pass them as
    `classes` to every `from_table`: one that lacks a class would number the rest otherwise.

    Args:
        values: A column of labels; empty cells don't count.

    Example:

    >>> import mm_keras as mm
    >>> mm.data.class_names(["dog", "cat", "dog"]), mm.data.class_names(["10", "9"])
    (('cat', 'dog'), ('9', '10'))
    """
    names = {str(value) for value in values if not is_missing(value)}
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def read_labels(columns: Columns, labels: Any, classes: Any) -> tuple[Any, Bad]:
    """Returns labels as an array, or `{head: array}`, and `{row: (column, reason)}` of bad ones.

    Args:
        columns: Of the table.
        labels: A column, or a list of columns of numbers, for one head; or `{head: those}`.
        classes: As in `from_table`.
    """
    bad: Bad = {}
    if isinstance(labels, Mapping):
        for head in classes if isinstance(classes, Mapping) else ():
            if head not in labels:
                raise ValueError(
                    f"`classes` must have heads out of {sorted(labels)}.{nearest(head, labels)} "
                    f"Received: {head!r}."
                )
        kinds = classes if isinstance(classes, Mapping) else dict.fromkeys(labels, classes)
        values = {
            head: _labels(columns, names, kinds.get(head), f"labels[{head!r}]", bad)
            for head, names in labels.items()
        }
        return values, bad
    if isinstance(classes, Mapping):
        raise TypeError(
            "`classes` must not be a mapping where `labels` is not one. "
            f"Received: classes={dict(classes)!r}."
        )
    return _labels(columns, labels, classes, "labels", bad), bad


def _labels(columns: Columns, names: Any, classes: Any, argument: str, bad: Bad) -> np.ndarray:
    if isinstance(names, list | tuple):  # numbers of several columns, or flags
        parts = [_labels(columns, name, "numbers", argument, bad) for name in names]
        return np.stack(parts, axis=-1)
    cells = column(columns, names, argument)
    dtype = cells.dtype if isinstance(cells, np.ndarray) else None
    if dtype is not None and cells.ndim > 1:
        wrong = ~np.isfinite(np.asarray(cells, "float64")).reshape(len(cells), -1).all(axis=1)
        bad.update({int(row): (names, "NaN or infinity") for row in np.flatnonzero(wrong)})
        return cells
    is_said = classes is not None
    classes = classes if is_said else _kind(cells)
    if isinstance(classes, str):
        values = _numbers(cells, names, classes, argument, bad)
        if classes == "ids" and not is_said:
            _check_first(columns, names)
        return values
    known = _names(columns, names) if classes is None else tuple(str(name) for name in classes)
    ids = {name: number for number, name in enumerate(known)}
    values = np.zeros(len(cells), "int64")
    for row, cell in enumerate(cells):
        if is_missing(cell):
            bad[row] = (names, "an empty cell")
        elif str(cell) not in ids:
            bad[row] = (names, f"no class of this name: {str(cell)!r}.{nearest(cell, ids)}")
        else:
            values[row] = ids[str(cell)]
    return values


def _kind(cells: Sequence[Any]) -> str | None:
    """Returns what labels are of which nothing is said: `"ids"`, `"numbers"`, or `None`, names."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf":
        return "numbers" if cells.dtype.kind == "f" else "ids"
    filled = [cell for cell in cells if not is_missing(cell)]
    whole = kinds_of_numbers.Integral | np.bool_
    if not filled or not all(isinstance(cell, kinds_of_numbers.Real | whole) for cell in filled):
        return None
    return "ids" if all(isinstance(cell, whole) for cell in filled) else "numbers"


def _check_first(columns: Columns, name: str) -> None:
    """Warns of ids that seem to count from 1, in the whole table where this is a part of one."""
    cells = getattr(columns, "whole", {}).get(name, columns[name])
    found = {int(cell) for cell in cells if not is_missing(cell)}
    if len(found) > 1 and found == set(range(1, len(found) + 1)):
        logger.warning(
            "The labels of the column %r are the ids 1…%d, and none is 0. Ids count from 0: if "
            "these count from 1, subtract 1, or pass classes=%s.",
            name,
            len(found),
            [str(number) for number in sorted(found)] if len(found) < 10 else "[…]",
        )


def _names(columns: Columns, name: str) -> tuple[str, ...]:
    """Returns the classes of a column; of a part of `split_table`, those of the whole table."""
    own = class_names(columns[name])
    known = class_names(getattr(columns, "whole", {}).get(name, ()))
    return known if set(own) <= set(known) else own  # else the column has been made anew


def _numbers(cells, name: str, kind: str, argument: str, bad: Bad) -> np.ndarray:
    if kind not in KINDS:
        raise ValueError(
            f"`classes` must be names of classes, one of {list(KINDS)}, or None. "
            f"Received: {kind!r} for {argument}."
        )
    values, wrong = numbers(cells)
    bad.update({row: (name, reason) for row, reason in wrong.items()})
    if kind == "numbers":
        return values.astype("float32")
    for row in np.flatnonzero((values < 0) | (values != np.floor(values))):
        bad[int(row)] = (name, f"no class id: {cells[row]!r}")
    return values.astype("int64")
