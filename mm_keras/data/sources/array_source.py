"""A described file of arrays."""

import dataclasses
import pathlib

import numpy as np

from mm_keras.data.cells import read_table
from mm_keras.data.rows import Places, Rows
from mm_keras.data.sources.rows import ColumnSource


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArraySource(ColumnSource):
    """An .npz file of arrays, or one for each split: a table whose columns are arrays.

    An optional modality is absent where the array `<column>_present` is false.

    Args:
        path: Of the .npz file, or `{split: path}`.
    """

    def _read(self, path):
        if not pathlib.Path(path).is_file():
            raise FileNotFoundError(f"`path` must be an existing .npz file. Received: {path}.")
        with np.load(path, allow_pickle=False) as file:
            columns = read_table({name: file[name] for name in file.files})
        return Rows(columns, Places.whole(len(columns.places), str(path)))
