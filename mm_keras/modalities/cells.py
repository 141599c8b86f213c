"""Cells of tables as numbers, or missing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def is_missing(cell: Any) -> bool:
    """Returns whether a cell is empty: `None`, NaN, pandas' NA and NaT, or blank text."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float | np.floating) and math.isnan(cell)


def numbers(cells: Sequence[Any]) -> tuple[np.ndarray, dict[int, str]]:
    """Returns cells as float64, and `{row: reason}` of those that are no finite number."""
    try:
        values = np.asarray(cells, "float64")
    except (TypeError, ValueError):
        values = np.array([_number(cell) for cell in cells], "float64")
    bad = {}
    for row in np.flatnonzero(~np.isfinite(values)):
        cell = cells[row]
        bad[int(row)] = (
            "an empty cell"
            if not isinstance(cell, float | np.floating) and is_missing(cell)
            else f"no finite number: {cell!r}"
            if isinstance(cell, str)
            else "NaN or infinity"
        )
    return np.where(np.isfinite(values), values, 0.0), bad


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
