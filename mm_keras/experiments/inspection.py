"""What was found in a dataset, and tables of it."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from mm_keras.data import BadRecords, class_names
from mm_keras.modalities import Modality

LISTED = 10  # broken records
SIZES = 4  # different sizes of files


@dataclasses.dataclass
class Part:
    """What was counted in one split.

    Args:
        samples: Number of samples that can be used.
        labels: `{head: Counter of classes}`, or `{head: list of numbers}`.
        absent: `{modality: samples that lack it}`, broken ones included.
    """

    samples: int = 0
    labels: dict[str, Any] = dataclasses.field(default_factory=dict)
    absent: Counter = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass
class Inspection:
    """What was found; `tables()` are for a console, the rest for `plots.contact_sheet`.

    Args:
        name: Of the dataset.
        modalities: `{name: spec}`, adapted.
        parts: `{split: Part}`.
        report: Broken records.
        census: `{modality: Counter of sizes}` of files, where these were looked at.
        gaps: `{column: empty cells}`.
        inputs: `{name: (n, …)}` of some samples.
        titles: Their labels.
        notes: What was concluded.
    """

    name: str
    modalities: dict[str, Modality]
    parts: dict[str, Part]
    report: BadRecords
    census: dict[str, Counter] = dataclasses.field(default_factory=dict)
    gaps: dict[str, int] = dataclasses.field(default_factory=dict)
    inputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    titles: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def broken(self, split: str, modality: str) -> int:
        """Returns the number of samples of a split in which a modality is broken."""
        return len(
            {
                record.row
                for record in self.report
                if record.modality == modality and self._split_of(record.origin) == split
            }
        )

    def _split_of(self, origin: str) -> str:
        ending = origin.rsplit(", ", 1)[-1]
        return ending if ending in self.parts else next(iter(self.parts))

    def tables(self) -> Iterator[Any]:
        """Yields what a `rich.console.Console` prints."""
        yield from self.notes
        yield self._modality_table()
        for head in sorted({head for part in self.parts.values() for head in part.labels}):
            yield self._label_table(head)
        empty = {name: count for name, count in self.gaps.items() if count}
        if empty:
            table = Table("column", "empty cells", title="Missing")
            for name, count in empty.items():
                table.add_row(name, f"{count:,}")
            yield table
        yield from self.report.losses
        if self.report.count:
            yield f"{self.report.count:,} broken records:"
            for number, record in enumerate(self.report):
                if number == LISTED:
                    yield f"  … and {len(list(self.report)) - LISTED:,} more"
                    break
                yield f"  {record}"
        else:
            yield "No broken records."

    def _modality_table(self) -> Table:
        table = Table(title=f"{self.name}: samples that lack a modality / where it is broken")
        for column in ("modality", "type", "shape"):
            table.add_column(column)
        for split in self.parts:
            table.add_column(split, justify="right")
        for name, spec in self.modalities.items():
            cells = []
            for split, part in self.parts.items():
                broken = self.broken(split, name)
                cells.append(f"{max(part.absent[name] - broken, 0):,} / {broken:,}")
            table.add_row(name, type(spec).__name__, self._shape(name, spec), *cells)
        table.add_section()
        counts = [f"{part.samples:,}" for part in self.parts.values()]
        table.add_row("usable samples", "", "", *counts)
        return table

    def _shape(self, name: str, spec: Modality) -> str:
        found = self.census.get(name)
        if not found:
            return _times(spec.input_shape)
        shown = [f"{_times(size)}: {count:,}" for size, count in found.most_common(SIZES)]
        if len(found) > SIZES:
            shown.append(f"{len(found) - SIZES:,} other sizes")
        return "\n".join(shown)

    def _label_table(self, head: str) -> Table:
        found = {split: part.labels.get(head) for split, part in self.parts.items()}
        if any(isinstance(values, list) for values in found.values()):
            table = Table("split", "min", "mean", "max", title=f"{head}: numbers")
            for split, values in found.items():
                numbers = np.asarray(values or [np.nan], float)
                table.add_row(split, *(f"{f(numbers):g}" for f in (np.min, np.mean, np.max)))
            return table
        table = Table("class", title=f"{head}: classes")
        for split in found:
            table.add_column(split, justify="right")
            table.add_column("%", justify="right")
        for name in class_names([name for counts in found.values() for name in counts or ()]):
            cells = []
            for counts in found.values():
                count = (counts or Counter())[name]
                total = sum((counts or Counter()).values())
                cells += [f"{count:,}", f"{100 * count / max(total, 1):.1f}"]
            table.add_row(name, *cells)
        return table


def _times(size: Sequence[int]) -> str:
    return " × ".join(str(number) for number in size)
