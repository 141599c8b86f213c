"""Records that cannot be read: what happens to them, and the list of them."""

import contextlib
import csv
import dataclasses
import logging
import os
import pathlib
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from mm_keras._checks import check_choice, nearest
from mm_keras.modalities import Modality

POLICIES = ("raise", "absent", "drop")

# What TensorFlow's decoders say, in plain words.
WORDS = {
    "jpeg::Uncompress failed": "broken or truncated JPEG",
    "Invalid PNG data": "broken or truncated PNG",
    "Input is empty": "an empty file",
    "Unknown image file format": "no picture in PNG, JPEG, BMP or GIF",
    "Data too short when trying to read string": "broken or truncated WAV",
}

logger = logging.getLogger("mm_keras.data")


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """One thing that could not be read.

    Args:
        origin: The table, folder or arrays that it belongs to.
        row: Number of the record in there, from 0; of a part of `split_table`, in the whole table.
        line: The line of a CSV file that the record begins at, from 1, which is that of the header;
            `None`: it is not from such a file.
        modality: Name of the modality, or `"labels"`.
        source: The file, or the column.
        reason: Why it could not be read.
        action: What was done: `"absent"` or `"drop"`.
    """

    origin: str
    row: int
    line: int | None
    modality: str
    source: str
    reason: str
    action: str

    def __str__(self) -> str:
        where = f"row {self.row}" if self.line is None else f"line {self.line}"
        return f"{self.origin}, {where}, {self.modality}: {self.source}: {self.reason}"


class BadRecords:
    """Every record that a source could not read, each once, however many epochs have run.

    Pass one as `report` to `from_table`, `from_folder` or `from_arrays`. What is wrong with numbers
    and texts is in it at once; what is wrong with files, when they have been read: after one whole
    pass over the dataset it is complete. Each record is also logged, once, as a warning of the
    logger `"mm_keras.data"`; so is, once, that more than half of the samples have lost a modality,
    or are left out for it, which `losses` tells too.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> report = mm.data.BadRecords()
    >>> numbers = np.array([[1.0, 2.0], [np.nan, 0.0], [5.0, 6.0]])
    >>> data = mm.data.from_arrays(
    ...     {"a": numbers}, [0, 1, 0], {"a": mm.Features(2)}, on_error="drop", report=report
    ... )
    >>> len(list(data)), report.count
    (2, 1)
    >>> [(record.row, record.modality, record.reason) for record in report]
    [(1, 'a', 'NaN or infinity')]
    """

    def __init__(self) -> None:
        self._found: dict[tuple, BadRecord] = {}
        self._tables: Counter[str] = Counter()  # without a name, by split
        self._losses: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def add(self, record: BadRecord) -> None:
        """Adds a record, and logs it, unless it is known already."""
        key = (record.origin, record.row, record.modality, record.source)
        with self._lock:
            if key in self._found:
                return
            self._found[key] = record
        logger.warning("%s (%s)", record, "dropped" if record.action == "drop" else "set absent")

    def add_loss(self, record: BadRecord, lost: int, of: int) -> None:
        """Notes that most samples have lost a modality, and logs it the first time.

        Args:
            record: One of those that are bad.
            lost: How many samples at least have lost it.
            of: How many have it, bad ones included.
        """
        what = "are left out" if record.action == "drop" else f"go without {record.modality!r}"
        words = (
            f"At least {lost:,} of {of:,} samples of {record.origin} ({lost / of:.0%}) {what}, "
            f"since {record.modality!r} is bad: {record.source}: {record.reason}, for one. "
            "Is it what the spec says?"
        )
        key = record.origin, record.modality
        with self._lock:
            is_known = key in self._losses
            self._losses[key] = words
        if not is_known:
            logger.warning("%s", words)

    @property
    def losses(self) -> list[str]:
        """A sentence on each modality that most samples have lost."""
        with self._lock:
            return list(self._losses.values())

    def name_table(self, split: str = "") -> str:
        """Returns a name for a table in memory, or its split: `"table"`, then `"table 2"`.

        Args:
            split: Of the table; `""`: it is no part of one.
        """
        with self._lock:
            self._tables[split] += 1
            number = self._tables[split]
        name = "table" if number == 1 else f"table {number}"
        return f"{name}, {split}" if split else name

    def __iter__(self) -> Iterator[BadRecord]:
        """Yields what was found, in the order of tables and rows."""
        with self._lock:
            found = list(self._found.values())
        return iter(sorted(found, key=lambda r: (r.origin, r.row, r.modality, r.source)))

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True  # an empty report is a report: `report or BadRecords()` must keep it

    def __repr__(self) -> str:
        return f"BadRecords(count={self.count}, reasons={self.reasons()})"

    @property
    def count(self) -> int:
        """Number of records affected; one with two broken files counts once."""
        return len({(record.origin, record.row) for record in self})

    def reasons(self) -> dict[str, int]:
        """Returns how often each reason was met, the most frequent first."""
        return dict(Counter(record.reason for record in self).most_common())

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes a table of all records to a file."""
        with pathlib.Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in dataclasses.fields(BadRecord)])
            writer.writerows(dataclasses.astuple(record) for record in self)


def per_modality(argument: str, value: Any, names: Any, default: Any) -> dict[str, Any]:
    """Returns `{name: value}` of one value for all, or of a mapping for some."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise ValueError(
                f"`{argument}` must have names of modalities, out of {sorted(names)}."
                f"{nearest(name, names)} Received: {name!r}."
            )
    return {name: value.get(name, default) for name in names}


def check_policy(on_error: Any, modalities: Mapping[str, Modality]) -> tuple[dict[str, str], str]:
    """Returns `{modality: policy}`, checked against what may be absent, and that of labels."""
    of_labels = "drop" if on_error == "drop" else "raise"  # a label cannot be absent
    if isinstance(on_error, Mapping) and "labels" not in modalities:
        on_error = dict(on_error)
        of_labels = on_error.pop("labels", "raise")
        check_choice("on_error['labels']", of_labels, ("raise", "drop"))
    policies = per_modality("on_error", on_error, modalities, "raise")
    for name, policy in policies.items():
        check_choice("on_error", policy, POLICIES)
        if policy == "absent" and modalities[name].presence_shape is None:
            raise ValueError(
                f"`on_error` must not be 'absent' for {name!r}, which is not optional: pass "
                f"optional=True to its spec, or on_error={{{name!r}: 'drop'}}. "
                f"Received: on_error={on_error!r}."
            )
    return policies, of_labels


def error_of(
    record: BadRecord, policies: Mapping[str, str], spec: Modality | None, numbered: bool = True
) -> ValueError:
    """Returns the error that a bad record raises, which says what to do about it.

    Args:
        record: That is bad.
        policies: `{modality: policy}`.
        spec: Of its modality; `None`: labels or weights are bad.
        numbered: Whether its place is a number of a row, which the error then explains.
    """
    policies = {other: policy for other, policy in policies.items() if policy != "raise"}
    if spec is None:  # a label cannot be absent
        policies["labels"] = "drop"
    else:
        policies[record.modality] = "drop" if spec.presence_shape is None else "absent"
    end = "" if record.reason.endswith((".", "?")) else "."
    counted = " Rows are counted from 0, before any split." if numbered else ""
    return ValueError(
        f"{record}{end} Mend it, or pass on_error='drop', or on_error={policies}.{counted}"
    )


@contextlib.contextmanager
def plain_errors():
    """Makes a `ValueError` of what TensorFlow says about a bad record: file and reason, no more."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        found = re.search(r"Error: (.*on_error='drop'.*|this needs the library .*)", str(error))
        if found is None:
            raise
        raise ValueError(found.group(1)) from error


def reason_of(error: BaseException) -> str:
    """Returns one line that says what went wrong, without TensorFlow's decoration."""
    text = getattr(error, "message", None) or str(error)
    text = re.sub(r"\{\{.*?\}\}\s*", "", text).strip()
    text = re.sub(r"\s*\[Op:.*", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\nTraceback \(most recent call last\):.*", "", text, flags=re.DOTALL)
    text = re.sub(r"^(assertion failed|Value\w*|\w+Error): ", "", text)
    text = text.splitlines()[0].strip() if text else type(error).__name__
    if text.startswith("[") and text.endswith("]"):  # an assertion's parts
        text = text[1:-1].replace("] [", "").replace("\\'", "'")
    return next((words for start, words in WORDS.items() if text.startswith(start)), text)
