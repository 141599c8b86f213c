"""Predicts for the rows of a file without labels what `mm-keras train` has taught a model."""

import csv
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import scipy.special
from rich.console import Console
from rich.progress import Progress

from mm_keras.data import BadRecords
from mm_keras.data.sources.rows import ROW, ColumnSource
from mm_keras.experiments.config import Experiment
from mm_keras.models import Classification, Head, MultiLabel, inference_model, modalities_of
from mm_keras.models.heads import check_heads

Table = dict[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says of the rows of a file.

    Args:
        columns: `{name: cells}` to write: what is predicted. A row that could not be read has empty
            cells, `""`.
        table: `{name: cells}` of the file itself, where its cells are texts and numbers.
        unread: Numbers of the rows that could not be read, from 0.
        report: Why, and what else of the file was taken as absent.
    """

    columns: Table
    table: Table
    unread: Sequence[int]
    report: BadRecords

    @property
    def count(self) -> int:
        """Number of rows of the file."""
        return len(next(iter(self.columns.values())))

    def write_csv(self, path: str | pathlib.Path) -> None:
        """Writes the file's own columns and, after them, what is predicted."""
        cells = {**self.table, **self.columns}  # what an earlier call had appended is replaced
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(cells)
            writer.writerows(zip(*cells.values(), strict=True))


def predict_rows(
    model: keras.Model,
    experiment: Experiment,
    path: str | pathlib.Path,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    probabilities: bool = False,
    batch_size: int | None = None,
    console: Console | None = None,
) -> Predictions:
    """Returns what a trained model says of each row of a file.

    The file is read as that of training was: same columns, same treatment of pictures and sounds of
    other sizes. It needs no labels. What cannot be read is absent where the modality is optional;
    else the row has no prediction. Columns are called `predicted_<name>`, where the name is that of
    the column of labels in training, or of the head where there are several:

    | head | columns |
    |---|---|
    | `Classification` | the class, and `predicted_<name>_probability`, its probability |
    | `MultiLabel` | the probability of each label |
    | `Regression` | each number |

    Where labels were in columns of their own, each, the names are theirs; several numbers without
    names are `predicted_<name>_<i>`.

    Args:
        model: Trained.
        experiment: What it was trained on; its dataset is of the type `table` or `arrays`.
        path: Of the file: a CSV file or an .npz file, as in training.
        classes: `{head: names of its classes}`; a head left out has the numbers of classes.
        probabilities: Whether each class has a column too, `predicted_<name>_<class>`.
        batch_size: In rows; `None`: that of training.
        console: Where the progress bar goes; `None`: standard output.

    Raises:
        OSError: If there is no such file.
        ValueError: If the dataset is of another type, or the file lacks a column.
    """
    source = experiment.source
    if not isinstance(source, ColumnSource):
        raise ValueError(
            "`dataset.type` of the config must be table or arrays, whose files may come without "
            f"labels. Received: {type(source).__name__}."
        )
    modalities = modalities_of(model)
    heads = check_heads(experiment.num_classes)
    policies = {
        name: "drop" if spec.presence_shape is None else "absent"
        for name, spec in modalities.items()
    }
    numbered = source.numbered(str(path), policies)
    samples = numbered.samples("", modalities)
    table = {name: cells for name, cells in numbered.tables[""].items() if name != ROW}
    count = len(next(iter(table.values())))
    shipped = inference_model(model)
    values = {head: np.zeros((count, spec.units)) for head, spec in heads.items()}
    read = np.zeros(count, bool)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("predicting", total=count)
        for inputs, rows in samples.batch(batch_size or experiment.splits.batch_size):
            rows = rows.numpy()
            outputs = shipped.predict_on_batch({name: inputs[name] for name in shipped.input})
            for head in heads:
                values[head][rows] = outputs[head]
            read[rows] = True
            progress.advance(task, len(rows))
    columns: dict[str, Any] = {}
    for head, spec in heads.items():
        names = (classes or {}).get(head)
        columns |= _columns(source.labels, head, spec, values[head], names, probabilities)
    blank = np.flatnonzero(~read)
    for name, cells in columns.items():
        columns[name] = ["" if not here else cell for cell, here in zip(cells, read, strict=True)]
    plain = {name: cells for name, cells in table.items() if np.ndim(cells) == 1}
    return Predictions(columns, plain, blank.tolist(), numbered.report)


def _columns(
    labels: Any,
    head: str,
    spec: Head,
    values: np.ndarray,
    classes: Sequence[str] | None,
    every: bool,
) -> Table:
    """Returns the columns of one head; `labels` as the source of training names them."""
    own = labels.get(head) if isinstance(labels, Mapping) else labels
    name = own if isinstance(own, str) and not isinstance(labels, Mapping) else head
    if isinstance(spec, Classification):
        parts = classes or list(map(str, range(spec.units)))
        shares = scipy.special.softmax(values, axis=1) if spec.logits else values
        found: Table = {
            f"predicted_{name}": [parts[number] for number in shares.argmax(axis=1)],
            f"predicted_{name}_probability": _rounded(shares.max(axis=1)),
        }
        each = zip(parts, shares.T, strict=True) if every else ()
        return found | {f"predicted_{name}_{part}": _rounded(share) for part, share in each}
    if isinstance(spec, MultiLabel) and spec.logits:
        values = scipy.special.expit(values)
    if not isinstance(own, str) and own is not None:
        names = list(own)  # a column for each unit
    elif spec.units == 1:
        names = [name]
    else:
        names = [f"{name}_{part}" for part in classes or range(spec.units)]
    return {
        f"predicted_{part}": _rounded(column) for part, column in zip(names, values.T, strict=True)
    }


def _rounded(values: np.ndarray) -> list[float]:
    """Returns values with the seven digits that float32 has."""
    return [float(f"{value:.7g}") for value in values]
