"""Samples from a table."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_names, nearest
from mm_keras.data.bad_records import BadRecords, check_policy, per_modality
from mm_keras.data.cells import column, read_table
from mm_keras.data.columns import read_modality
from mm_keras.data.label_columns import read_labels
from mm_keras.data.records import Records
from mm_keras.data.rows import Place
from mm_keras.modalities import Modality, Tabular
from mm_keras.modalities.cells import numbers


def from_table(
    table: Any,
    modalities: Mapping[str, Modality],
    *,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    labels: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = "label",
    classes: Any = None,
    weights: str | Mapping[str, str] | None = None,
    root: str | os.PathLike | None = None,
    resize: bool | str | Mapping[str, bool | str] = False,
    length: str | Mapping[str, str | None] | None = None,
    resample: bool | Mapping[str, bool] = True,
    sampling: str | Mapping[str, str] = "uniform",
    exif: bool | Mapping[str, bool] = True,
    on_error: str | Mapping[str, str] = "raise",
    report: BadRecords | None = None,
    shuffle: bool = False,
    seed: int = 0,
    origin: str | None = None,
) -> tf.data.Dataset:
    """Returns the rows of a table as samples `({name: …}, labels[, weights])`, not batched.

    The specs say what the columns hold, which is never guessed:

    | spec | its cells |
    |---|---|
    | Image | the path of a PNG, JPEG, BMP or GIF file |
    | Views | V such paths, in V columns |
    | Audio | the path of a WAV file; of FLAC, Ogg or MP3 with the extra `mm_keras[audio]`; of a \
video with sound with `mm_keras[video]` |
    | Video | the path of a video, with `mm_keras[video]` |
    | Text | the text itself; its vocabulary must have been adapted |
    | Tabular | numbers and categories, of the columns that the spec itself names |
    | Features | numbers, in as many columns, or the path of a .npy file |

    A column that is an array `(N, *spec.input_shape)` is taken as it is. Files are read in
    parallel while the dataset is used; the order is that of the rows, or of the shuffling.

    An empty cell (or row of a table) of an optional modality means absent: zeros, and
    `<name>_present` is false. Everything else that does not fit — an empty cell of a modality that
    is not optional, a file that is missing or broken, sound of the wrong length, NaN, a text
    without a token — is a bad record, and `on_error` says what then.

    Args:
        table: The path of a CSV file, a DataFrame, or `{column: values}`; see `read_table`.
        modalities: `{name: spec}`.
        inputs: `{name: column}`, or a list of columns where the table above has several. A
            modality left out is in the column of its own name.
        labels: The column of labels, a list of columns of numbers (several labels, or a regression
            of several numbers), or `{head: those}`. `None`: there are none, and a sample is
            `{name: …}` alone, as `model.predict(data.batch(32))` takes it.
        classes: What the labels are: names of classes, whose ids are their places; `"ids"`, which
            count from 0; `"numbers"`; or `{head: those}`. `None`: whole numbers are ids as they
            are, `[1, 2]` no less than an array; fractions are numbers; texts, which all cells of a
            CSV file are, `"1"` too, are names, numbered from 0 in the order of `class_names`.
            Parts of `split_table` have the names of the whole table. Of tables that come one for
            each split, pass `class_names` of the training labels for all, or one that lacks a class
            numbers the rest otherwise.
        weights: The column of sample weights, or `{head: column}`.
        root: Folder that relative paths start from. `None`: that of the CSV file, or the current.
        resize: Of pictures and frames of another size: `False` (bad), `True` (stretched), `"pad"`
            or `"crop"`; or `{name: those}`.
        length: Of sound of another length: `None` (bad), `"pad"` (silence follows), `"crop"` (cut
            at the end) or `"fit"` (both); of videos with too few frames: `"pad"` and `"fit"` repeat
            some; or `{name: those}`.
        resample: Whether sound of another rate is resampled; if not it is bad.
        sampling: Which frames of a video: `"uniform"`, or `"random"`, others in each epoch.
        exif: Whether JPEGs are turned upright as the EXIF orientation in them says, which cameras
            and phones write.
        on_error: What becomes of a bad record. `"raise"`: an error that names file and reason.
            `"absent"`: the optional modality is absent in that sample. `"drop"`: the sample is left
            out. Or `{name: those}`, where `"labels"` may be named too: bad labels and weights raise
            unless they, or all, are dropped.
        report: Receives every bad record that did not raise.
        shuffle: Whether rows come in another order in each epoch: all of them, before any file is
            read, so that no buffer of decoded samples is needed.
        seed: Of shuffling and random frames.
        origin: Names the table in messages; `None`: the path of the CSV file, or `"table"`, and the
            split. Messages also name the line of a CSV file, or the row of another table, from 0;
            of a part of `split_table` they are those of the whole table.

    Raises:
        ValueError: At once, if arguments don't fit together, or something in memory is bad and
            `on_error="raise"`; `tf.errors.InvalidArgumentError` during iteration if a file is.

    Example:

    >>> import mm_keras as mm
    >>> shop = {"title": ["red shoe", "blue hat"], "price": ["20", "5"], "kind": ["shoe", "hat"]}
    >>> modalities = {
    ...     "title": mm.Text(4, 10).adapt(shop["title"]),
    ...     "table": mm.Tabular(numeric=("price",)),
    ... }
    >>> data = mm.data.from_table(shop, modalities, labels="kind")
    >>> inputs, labels = next(iter(data.batch(2)))
    >>> inputs["table"].numpy().tolist(), labels.numpy().tolist()
    ([[20.0], [5.0]], [1, 0])
    >>> sorted(mm.data.from_table(shop, modalities, labels=None).element_spec)
    ['table', 'title']
    """
    check_modalities(modalities)
    columns = read_table(table)
    is_file = isinstance(table, str | os.PathLike)
    report = report or BadRecords()
    unnamed = origin or report.name_table(columns.split)

    def place(row: int) -> Place:
        found = columns.places[row]
        if origin or not found.file:
            return found._replace(file=unnamed)
        return found._replace(file=f"{found.file}, {columns.split}".removesuffix(", "))

    if root is None:
        root = os.path.dirname(os.fspath(table)) if is_file else ""
    sources = _sources(modalities, inputs)
    policies, label_policy = check_policy(on_error, modalities)
    options = {
        "resize": per_modality("resize", resize, modalities, False),
        "length": per_modality("length", length, modalities, None),
        "resample": per_modality("resample", resample, modalities, True),
        "sampling": per_modality("sampling", sampling, modalities, "uniform"),
        "exif": per_modality("exif", exif, modalities, True),
    }
    if labels is None and (classes is not None or weights is not None):
        raise ValueError(
            "`classes` and `weights` must be None where there are no labels. "
            f"Received: labels=None, classes={classes!r}, weights={weights!r}."
        )
    found, bad_labels = (None, {}) if labels is None else read_labels(columns, labels, classes)
    weighed, bad_weights = _weights(columns, weights)
    records = Records(
        place=place,
        modalities={
            name: read_modality(
                name,
                spec,
                columns,
                sources[name],
                os.fspath(root),
                {option: values[name] for option, values in options.items()},
            )
            for name, spec in modalities.items()
        },
        labels=found,
        weights=weighed,
        policies=policies,
        report=report,
        bad_labels={**bad_weights, **bad_labels},
        label_policy=label_policy,
    )
    return records.dataset(shuffle, seed)


def check_modalities(modalities: Any) -> None:
    """Raises unless `modalities` is `{name: spec}`."""
    if not isinstance(modalities, Mapping) or not modalities:
        raise TypeError(
            f"`modalities` must be {{name: spec}}, at least one. Received: {modalities!r}."
        )
    check_names("modalities", modalities)
    for name, spec in modalities.items():
        if not isinstance(spec, Modality):
            raise TypeError(
                f"`modalities[{name!r}]` must be a spec, e.g. mm.Image((32, 32, 3)). "
                f"Received: {spec!r}."
            )


def _sources(modalities: Mapping[str, Modality], inputs: Any) -> dict[str, Any]:
    inputs = dict(inputs or {})
    for name in inputs:
        if name not in modalities:
            raise ValueError(
                f"`inputs` must have names of modalities, out of {sorted(modalities)}."
                f"{nearest(name, modalities)} Received: {name!r}."
            )
    return {
        name: inputs.get(name, None if isinstance(spec, Tabular) else name)
        for name, spec in modalities.items()
    }


def _weights(columns, weights) -> tuple[Any, dict[int, tuple[str, str]]]:
    bad = {}

    def read(name: str, argument: str) -> np.ndarray:
        values, wrong = numbers(column(columns, name, argument))
        bad.update({row: (name, reason) for row, reason in wrong.items()})
        bad.update({int(row): (name, "a negative weight") for row in np.flatnonzero(values < 0)})
        return values.astype("float32")

    if isinstance(weights, Mapping):
        return {head: read(name, f"weights[{head!r}]") for head, name in weights.items()}, bad
    return None if weights is None else read(weights, "weights"), bad
