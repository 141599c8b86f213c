"""Tables: numbers and categories."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

from mm_keras._checks import check_int, check_sizes
from mm_keras.modalities.base import Modality, spec

FLOAT32_INTEGERS = 2**24  # float32 holds every integer up to here exactly


@spec
class Tabular(Modality):
    """Columns of a table: numbers and categories, deep, wide, or both.

    The model takes one row as float32 numbers: numeric columns as they are (normalised inside),
    categories as ids (0 for unknown), crosses as hash buckets. `adapt` learns means, variances
    and vocabularies and returns a new spec; `encode` makes the rows.

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

        Args:
            columns: `{name: values}` or a pandas DataFrame.
        """
        values = [self._numeric(columns, name) for name in self.numeric]
        vocabularies = {
            name: tokens
            if tokens is not None
            else tuple(np.unique(self._tokens(columns, name)).tolist())
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

    def _column(self, columns: Mapping[str, Any], name: str) -> np.ndarray:
        if name not in columns:
            raise ValueError(
                f"`columns` must have the column {name!r}. Received: {sorted(columns)}."
            )
        return np.asarray(columns[name])

    def _tokens(self, columns: Mapping[str, Any], name: str) -> np.ndarray:
        column = self._column(columns, name)
        # NumPy makes text of a missing value in a list: look at the list itself.
        values = columns[name] if isinstance(columns[name], list | tuple) else column
        for row, value in enumerate(values):
            if value is None or value != value:  # NaN alone differs from itself
                raise ValueError(
                    f"`columns[{name!r}]` must have no missing values: fill them first, with a "
                    f"category of their own, say. Received: {value} in row {row}."
                )
        return column.astype(str)

    def _numeric(self, columns: Mapping[str, Any], name: str) -> np.ndarray:
        try:
            values = self._column(columns, name).astype("float64")
        except (TypeError, ValueError) as error:
            raise ValueError(f"`columns[{name!r}]` must be numbers. Received: {error}.") from error
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"`columns[{name!r}]` must be finite: fill missing values first. "
                f"Received: {values[row]} in row {row}."
            )
        return values
