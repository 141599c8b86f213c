"""Tables: numbers and categories."""

import dataclasses
import numbers as kinds_of_numbers
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

from mm_keras._checks import check_bool, check_int, check_sizes, nearest
from mm_keras.modalities.base import Modality, spec
from mm_keras.modalities.cells import is_missing, numbers

FLOAT32_INTEGERS = 2**24  # float32 holds every integer up to here exactly


@spec
class Tabular(Modality):
    """Columns of a table: numbers and categories, deep, wide, or both.

    The model takes one row as float32 numbers: numeric columns as they are (normalised inside),
    categories as ids (0 for unknown), crosses as hash buckets. `adapt` learns means, variances
    and vocabularies and returns a new spec; `encode` makes the rows. A builder refuses a spec that
    lacks what it needs of these.

    Without `deep`, each column becomes one position of the feature sequence (a learnt embedding,
    Gorishniy 2021). With `deep`, an MLP on all columns makes one position. `wide` adds one more
    position: a sum of looked-up rows, one for each hashed cross, and a linear map of the numeric
    columns; its cost is one lookup a cross, however many buckets there are.

    Args:
        numeric: Names of the numeric columns.
        categorical: `{name: vocabulary}`; a vocabulary of `None` is learnt by `adapt`.
        wide: Crosses for the wide part: tuples of names of categorical columns, e.g.
            `(("city", "job"),)`.
        wide_buckets: Number of hash buckets of each cross.
        wide_width: Width of a looked-up row; up to `wide_width + 1` classes nothing is lost
            against one weight for each class.
        deep: Widths of the MLP's layers, e.g. `(64, 32)`; `()`: no MLP.
        embedding: Width of a column's embedding.
        mean: Means of the numeric columns, learnt by `adapt`.
        variance: Variances of the numeric columns, learnt by `adapt`.
        normalize: Whether the model normalises numeric columns by `mean` and `variance`; `False`:
            they come normalised.

    Example:

    >>> import mm_keras as mm
    >>> table = mm.Tabular(numeric=("age",), categorical={"city": ("Rome", "Oslo")})
    >>> table.encode({"age": [30.0, 40.0], "city": ["Oslo", "Paris"]}).tolist()
    [[30.0, 2.0], [40.0, 0.0]]

    Reference: Cheng et al., Wide & Deep Learning for Recommender Systems, 2016; Gorishniy et al.,
    Revisiting Deep Learning Models for Tabular Data, 2021.
    """

    _: dataclasses.KW_ONLY
    numeric: tuple[str, ...] = ()
    categorical: Mapping[str, tuple[str, ...] | None] = dataclasses.field(default_factory=dict)
    wide: tuple[tuple[str, ...], ...] = ()
    wide_buckets: int = 100_000
    wide_width: int = 8
    deep: tuple[int, ...] = ()
    embedding: int = 16
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()
    normalize: bool = True

    units: ClassVar[str] = "encoded columns"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.numeric, str) or not isinstance(self.numeric, tuple):
            raise TypeError(
                f"`numeric` must be a tuple of column names. Received: numeric={self.numeric!r}."
            )
        if not isinstance(self.categorical, Mapping):
            raise TypeError(
                "`categorical` must be {column: vocabulary}. "
                f"Received: categorical={self.categorical!r}."
            )
        categorical = {
            name: None if vocabulary is None else self._vocabulary(name, vocabulary)
            for name, vocabulary in self.categorical.items()
        }
        object.__setattr__(self, "categorical", categorical)
        columns = [*self.numeric, *categorical]
        if not columns:
            raise ValueError("`numeric` and `categorical` must name at least one column together.")
        repeated = {name for name in columns if columns.count(name) > 1}
        if repeated:
            raise ValueError(
                "`numeric` and `categorical` must not name a column twice. "
                f"Received twice: {sorted(repeated)}."
            )
        for cross in self.wide:
            if isinstance(cross, str) or len(cross) < 2 or not set(cross) <= set(categorical):
                raise ValueError(
                    "`wide` must be tuples of two or more categorical columns out of "
                    f"{list(categorical)}. Received: wide={self.wide!r}."
                )
        check_bool("normalize", self.normalize)
        for argument in ("wide_buckets", "wide_width", "embedding"):
            check_int(argument, getattr(self, argument))
        if self.wide_buckets > FLOAT32_INTEGERS:
            raise ValueError(
                f"`wide_buckets` must be at most {FLOAT32_INTEGERS}, since rows are float32. "
                f"Received: wide_buckets={self.wide_buckets}."
            )
        check_sizes("deep", self.deep)
        for argument in ("mean", "variance"):
            values = tuple(float(value) for value in getattr(self, argument))
            object.__setattr__(self, argument, values)
            if values and len(values) != len(self.numeric):
                raise ValueError(
                    f"`{argument}` must have one value for each of the {len(self.numeric)} "
                    f"numeric columns. Received: {argument}={values}."
                )

    @staticmethod
    def _vocabulary(name: str, vocabulary: Any) -> tuple[str, ...]:
        if isinstance(vocabulary, str):
            raise TypeError(
                f"`categorical[{name!r}]` must be a sequence of categories, or None. "
                f"Received: {vocabulary!r}; pass ({vocabulary!r},)."
            )
        tokens = tuple(str(token) for token in vocabulary)
        repeated = sorted({token for token in tokens if tokens.count(token) > 1})
        if repeated:
            raise ValueError(
                f"`categorical[{name!r}]` must not have a category twice. "
                f"Received twice: {repeated}."
            )
        return tokens

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (len(self.numeric) + len(self.categorical) + len(self.wide),)

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of ids of each categorical column, the unknown id 0 included."""
        missing = [name for name, tokens in self.categorical.items() if tokens is None]
        if missing:
            raise ValueError(
                "`categorical` must have a vocabulary for every column: call "
                f"`spec = spec.adapt(columns)` first. Received none for: {missing}."
            )
        return tuple(len(tokens) + 1 for tokens in self.categorical.values())

    def adapt(self, columns: Mapping[str, Any]) -> "Tabular":
        """Returns this spec with means, variances and open vocabularies of `columns`.

        Empty cells (`None`, NaN, blank text) don't count, as `mm.data.from_table` takes them for
        absent or bad; numbers may be texts, as in a CSV file.

        Args:
            columns: `{name: values}`, what `mm.data.read_table` returns, or a pandas DataFrame.

        Raises:
            ValueError: If a column is missing, or a cell of a numeric column is neither a finite
                number nor empty; it names the row, or the line of the file.
        """
        values = [self._numeric(columns, name, adapting=True) for name in self.numeric]
        vocabularies = {
            name: tokens
            if tokens is not None
            else tuple(np.unique(self._tokens(columns, name, adapting=True)).tolist())
            for name, tokens in self.categorical.items()
        }
        return dataclasses.replace(
            self,
            mean=tuple(float(value.mean()) for value in values),
            variance=tuple(float(value.var()) for value in values),
            categorical=vocabularies,
        )

    def encode(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Returns rows `(B, columns)` float32 of `{name: values}` or a pandas DataFrame."""
        self.vocabulary_sizes  # noqa: B018 - raises where a vocabulary is missing
        encoded = [self._numeric(columns, name) for name in self.numeric]
        tokens = {name: self._tokens(columns, name) for name in self.categorical}
        for name, vocabulary in self.categorical.items():
            ids = {token: index + 1 for index, token in enumerate(vocabulary)}
            encoded.append(np.array([ids.get(token, 0) for token in tokens[name]]))
        if self.wide:
            crossing = keras.layers.HashedCrossing(self.wide_buckets)
            for cross in self.wide:
                buckets = crossing(tuple(tokens[name].astype(object) for name in cross))
                encoded.append(keras.ops.convert_to_numpy(buckets).reshape(-1))
        lengths = {len(column) for column in encoded}
        if len(lengths) != 1:
            raise ValueError(
                f"`columns` must all have one length. Received: lengths {sorted(lengths)}."
            )
        return np.stack(encoded, axis=-1).astype("float32")

    @staticmethod
    def _cells(columns: Mapping[str, Any], name: str) -> Any:
        if name not in columns:
            raise ValueError(
                f"`columns` must have the column {name!r}.{nearest(name, columns)} "
                f"Received: {sorted(columns)}."
            )
        # NumPy makes text of a missing value in a list: lists stay.
        is_list = isinstance(columns[name], list | tuple)
        return columns[name] if is_list else np.asarray(columns[name])

    def _tokens(self, columns: Mapping[str, Any], name: str, adapting: bool = False) -> np.ndarray:
        cells = self._cells(columns, name)
        if adapting:
            cells = [cell for cell in cells if not is_missing(cell)]
        for row, cell in enumerate(cells):
            if is_missing(cell) and not isinstance(cell, str):
                raise ValueError(
                    f"`columns[{name!r}]` must have no missing values: fill them first, with a "
                    f"category of their own, say. Received: {cell} in {_place(columns, row)}."
                )
        return np.char.strip(np.asarray(cells).astype(str))

    def _numeric(self, columns: Mapping[str, Any], name: str, adapting: bool = False) -> np.ndarray:
        cells = self._cells(columns, name)
        values, bad = numbers(cells)
        missing = [row for row in bad if is_missing(cells[row])]
        wrong = sorted(set(bad) - set(missing)) if adapting else sorted(bad)
        if wrong:
            cell, where = cells[wrong[0]], _place(columns, wrong[0])
            what = "finite" if isinstance(cell, kinds_of_numbers.Real) else "numbers"
            cell = cell if what == "finite" else repr(cell)
            hint = ": fill missing values first" if wrong[0] in missing else ""
            raise ValueError(
                f"`columns[{name!r}]` must be {what}{hint}. Received: {cell} in {where}."
            )
        values = np.delete(values, missing) if adapting else values
        if adapting and not len(values):
            raise ValueError(
                f"`columns[{name!r}]` must have a number in some row. Received: empty cells only."
            )
        return values


def _place(columns: Mapping[str, Any], row: int) -> str:
    """Returns words for a row; tables that `mm.data` read know the line of the file."""
    places = getattr(columns, "places", None)
    if places is None:
        return f"row {row}"
    _, row, line = places[row]
    return f"row {row}" if line is None else f"line {line}"
