"""What described sources share that have rows: tables, arrays and folders."""

import copy
import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras.data.bad_records import BadRecords
from mm_keras.data.cells import column, is_missing
from mm_keras.data.label_columns import class_names
from mm_keras.data.rows import Places, Rows
from mm_keras.data.sources.described import Described
from mm_keras.data.split import Strata, split_table
from mm_keras.data.table import from_table
from mm_keras.modalities import Modality, Tabular, Text
from mm_keras.modalities.cells import numbers

ROW = "number of the row"  # a column of our own, which no file has by accident


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowSource(Described):
    """What sources that have rows share; see `from_table` for what is not explained here.

    Args:
        classes: Names of the classes, `"ids"`, `"numbers"`, or `{head: those}`; `None`: the names
            in all splits together, sorted.
        fractions: `{split: share}` of a single file or folder, drawn at random.
        stratify: Column whose values are split each by itself.
        split_seed: Of the drawing.
        resize: As in `from_table`.
        length: As in `from_table`.
        resample: As in `from_table`.
        sampling: As in `from_table`.
        exif: As in `from_table`.
        on_error: As in `from_table`.
    """

    classes: Any = None
    fractions: Mapping[str, float] | None = None
    stratify: str | None = None
    split_seed: int = 0
    resize: Any = False
    length: Any = None
    resample: Any = True
    sampling: Any = "uniform"
    exif: Any = True
    on_error: Any = "raise"

    # What only some have.
    inputs = types.MappingProxyType({})
    labels = "label"
    weights = None
    split = None
    group = None

    @functools.cached_property
    def report(self) -> BadRecords:
        """What could not be read in any split."""
        return BadRecords()

    @functools.cached_property
    def tables(self) -> dict[str, Rows]:
        """The rows of each split."""
        return self._split({s: self._read(path) for s, path in self._paths().items()})

    def _read(self, path: str) -> Rows:
        raise NotImplementedError

    def _root(self, split: str) -> str:
        return ""

    def _paths(self) -> dict[str, str]:
        return dict(self.path) if isinstance(self.path, Mapping) else {"": self.path}

    def _split(self, tables: dict[str, Rows]) -> dict[str, Rows]:
        drawn = self.fractions is not None or self.split is not None
        if "" not in tables:
            if drawn:
                raise ValueError(
                    "`fractions` and `split` must not be given where there is a file or folder for "
                    f"each split. Received: {sorted(tables)}."
                )
            return {name: Rows(table, table.places, name) for name, table in tables.items()}
        if not drawn:
            raise ValueError(
                "`dataset` must say what is training and what is test: a file for each split, "
                "path: {train: …, test: …}; shares, fractions: {train: 0.8, test: 0.2}; or a "
                "column, split: NAME. Received: none of these."
            )
        return split_table(
            tables[""],
            self.fractions,
            by=self.split,
            group=self.group,
            stratify=self.stratify,
            seed=self.split_seed,
        )

    def strata(self, splits: Sequence[str], head: str | None) -> Strata:
        """Returns labels and groups of all rows of some splits, one split after the other.

        Args:
            splits: Their names.
            head: Whose labels, where labels are a dict; `None`: none.
        """
        label = self.labels.get(head) if isinstance(self.labels, Mapping) else self.labels
        tables = [self._of(split, self.tables) for split in splits]

        def cells(name: Any, argument: str) -> np.ndarray | None:
            if not isinstance(name, str):
                return None
            found = [str(cell).strip() for t in tables for cell in column(t, name, argument)]
            return np.array(found, object)

        labels = None if head is None else cells(label, "labels")
        sizes = [len(next(iter(table.values()))) for table in tables]
        return Strata(sum(sizes), labels, cells(self.group, "group"))

    def parted(self, parts: Mapping[str, tuple[Sequence[str], np.ndarray]]) -> "RowSource":
        """Returns a source with other splits.

        Args:
            parts: `{split: (splits, rows)}`: which rows of these splits, one after the other, it
                has. Splits that are not named stay.
        """
        tables = dict(self.tables)
        for split, (splits, rows) in parts.items():
            pooled: dict[str, Any] = {}
            for name in self.tables[splits[0]]:
                cells = [column(self._of(one, self.tables), name, "parts") for one in splits]
                whole = all(isinstance(part, np.ndarray) for part in cells)
                pooled[name] = (
                    np.concatenate(cells) if whole else [c for part in cells for c in part]
                )
            places = Places.joined([self.tables[one].places for one in splits])
            tables[split] = Rows(pooled, places).take(rows, split)
        other = copy.copy(self)
        vars(other)["tables"] = tables  # in the place of the cached property
        return other

    def _inputs(self, modalities: Mapping[str, Modality]) -> Mapping[str, Any]:
        return self.inputs

    @functools.cached_property
    def label_names(self) -> Any:
        """Names of the classes as `from_table` takes them, the same for all splits."""
        if isinstance(self.labels, Mapping):
            given = self.classes if isinstance(self.classes, Mapping) else {}
            return {
                head: given.get(head) or self._names_of(names)
                for head, names in self.labels.items()
            }
        return self.classes or self._names_of(self.labels)

    def classes_of(self, head: str) -> tuple[str, ...]:
        names = self.label_names
        names = names.get(head) if isinstance(names, Mapping) else names
        return () if names is None or isinstance(names, str) else tuple(map(str, names))

    def _names_of(self, name: Any) -> Any:
        if not isinstance(name, str):
            return None
        cells = [column(table, name, "labels") for table in self.tables.values()]
        if all(isinstance(part, np.ndarray) and part.dtype.kind in "biuf" for part in cells):
            return None
        return class_names([cell for part in cells for cell in part])

    def samples(self, split, modalities, shuffle=False, seed=0):
        return from_table(
            self._of(split, self.tables),
            modalities,
            inputs=self._inputs(modalities),
            labels=self.labels,
            classes=self.label_names,
            weights=self.weights,
            root=self._root(split),
            resize=self.resize,
            length=self.length,
            resample=self.resample,
            sampling=self.sampling,
            exif=self.exif,
            on_error=self.on_error,
            report=self.report,
            shuffle=shuffle,
            seed=seed,
        )

    def adapt(self, modalities, split):
        table = self._of(split, self.tables)
        inputs = self._inputs(modalities)
        adapted = dict(modalities)
        for name, spec in modalities.items():
            argument = f"inputs[{name!r}]"
            if isinstance(spec, Text) and not spec.vocabulary:
                cells = column(table, inputs.get(name, name), argument)
                if np.ndim(cells) == 1:
                    adapted[name] = spec.adapt([str(c) for c in cells if not is_missing(c)])
            elif isinstance(spec, Tabular) and (not spec.mean or None in spec.categorical.values()):
                adapted[name] = spec.adapt(_clean(spec, table, argument))
        return adapted


def _clean(spec: Tabular, table: Rows, argument: str) -> dict[str, Sequence[Any]]:
    """Returns the columns of a table without what is no number: `on_error` deals with that."""
    clean: dict[str, Sequence[Any]] = {}
    for name in spec.numeric:
        cells = column(table, name, argument)
        values, bad = numbers(cells)
        if len(bad) == len(values):
            raise ValueError(
                "`numeric` must be columns of numbers. "
                f"Received: {name!r}, without any, such as {cells[0]!r}."
            )
        clean[name] = np.delete(values, list(bad))
    for name in spec.categorical:
        clean[name] = column(table, name, argument)
    return clean


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSource(RowSource):
    """What sources with named columns share.

    Args:
        inputs: `{modality: column or columns}`.
        labels: The column of labels, or `{head: column}`.
        weights: The column of sample weights.
        split: Instead of `fractions`, the column that names the split of each row.
        group: Column whose equal values stay in one split.
    """

    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Any = "label"
    weights: Any = None
    split: str | None = None
    group: str | None = None

    def numbered(self, path: str, on_error: Any) -> "ColumnSource":
        """Returns a source of another file whose labels are the numbers of its rows, from 0.

        Args:
            path: Of the file, which needs no labels; its only split is called `""`.
            on_error: As in `from_table`.
        """
        table = self._read(path)
        rows = np.arange(len(next(iter(table.values()))))
        other = dataclasses.replace(
            self,
            path={"": path},
            labels=ROW,
            classes="ids",
            weights=None,
            fractions=None,
            split=None,
            on_error=on_error,
        )
        table = Rows({**table, ROW: rows}, table.places)
        vars(other)["tables"] = {"": table}  # in the place of the cached property
        return other
