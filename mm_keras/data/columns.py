"""Columns to modalities: what the spec says decides how a cell is read."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras._checks import PRESENT, nearest
from mm_keras.data import decode
from mm_keras.data.cells import Columns, FileText, column, missing, texts
from mm_keras.data.decode import sound, video
from mm_keras.data.decode.common import extra
from mm_keras.data.records import Files, Stored
from mm_keras.modalities import Audio, Features, Image, Modality, Tabular, Text, Video, Views
from mm_keras.modalities.cells import numbers

PIECE = 8192  # texts that are vectorized in one call


def read_modality(
    name: str,
    spec: Modality,
    columns: Columns,
    source: Any,
    root: str,
    options: Mapping[str, Any],
) -> Stored | Files:
    """Returns a modality of a table.

    Args:
        name: Of the modality.
        spec: Of the modality.
        columns: Of the table.
        source: The column, or a list of columns.
        root: Folder that relative paths start from.
        options: `resize`, `length`, `resample`, `sampling` and `exif`, as in `from_table`.
    """
    argument = f"inputs[{name!r}]"
    if isinstance(source, str) and source in columns and np.ndim(columns[source]) > 1:
        stored = store_array(spec, columns[source], source, argument)
        if spec.presence_shape is not None and source + PRESENT in columns:
            set_present(stored, columns[source + PRESENT], argument)
        return stored
    if isinstance(spec, Tabular):
        return _table(spec, columns, source, argument)
    if isinstance(spec, Text):
        return _text(spec, column(columns, _one(source, argument), argument), source)
    if isinstance(spec, Features):
        names = [source] if isinstance(source, str) else source
        cells = column(columns, names[0], argument)
        is_number = isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf"
        if is_number or not isinstance(source, str):
            return _features(spec, columns, names, argument)
    if isinstance(spec, Views):
        if isinstance(source, str) or len(source) != spec.count:
            raise ValueError(
                f"`{argument}` must be a list of {spec.count} columns, one for each view. "
                f"Received: {source!r}."
            )
        names = list(source)
    else:
        names = [_one(source, argument)]
    return _files(name, spec, [column(columns, n, argument) for n in names], names, root, options)


def _one(source: Any, argument: str) -> str:
    if not isinstance(source, str):
        raise TypeError(f"`{argument}` must be one column. Received: {source!r}.")
    return source


def decoder_of(name: str, spec: Modality, options: Mapping[str, Any]) -> decode.pixels.Decoder:
    """Returns the function that reads a file of this modality."""
    if isinstance(spec, Image | Views):
        return decode.image_decoder(spec.shape, options["resize"], options["exif"])
    if isinstance(spec, Audio):
        return decode.audio_decoder(spec, options["length"], options["resample"])
    if isinstance(spec, Video):
        return decode.video_decoder(spec, options["resize"], options["sampling"], options["length"])
    if isinstance(spec, Features):
        return decode.array_decoder(spec.input_shape)
    raise TypeError(f"`modalities[{name!r}]` cannot be read from files. Received: {spec!r}.")


def _files(name, spec, cells: Sequence[Sequence[Any]], names, root: str, options) -> Files:
    empty = np.stack([missing(part) for part in cells], axis=-1)
    paths = [
        [
            "" if is_empty else os.path.join(root, str(cell))
            for cell, is_empty in zip(*row, strict=True)
        ]
        for row in zip(zip(*cells, strict=True), empty, strict=True)
    ]
    _check_libraries(spec, paths)
    if isinstance(spec, Views) and spec.optional_views:
        lacking = np.zeros(0, int) if spec.optional else np.flatnonzero(empty.all(axis=1))
    else:
        lacking = np.flatnonzero(empty.any(axis=1))
        if spec.optional:
            lacking = np.flatnonzero(empty.any(axis=1) & ~empty.all(axis=1))
    bad = {}
    for row in lacking:
        where = names[int(np.argmax(empty[row]))]
        bad[int(row)] = (f"column {where!r}", "an empty cell: no file is named")
    return Files(spec, paths, ~empty, decoder_of(name, spec, options), bad)


def _check_libraries(spec: Modality, paths) -> None:
    """Raises at once where a library is lacking, which is no fault of the files."""
    suffixes = {os.path.splitext(path)[1].lower() for row in paths for path in row}
    if isinstance(spec, Video) or (isinstance(spec, Audio) and suffixes & set(video.SUFFIXES)):
        extra("av", "video")
    if isinstance(spec, Audio) and suffixes & set(sound.LIBSNDFILE):
        extra("soundfile", "audio")


def store_array(spec: Modality, values: Any, source: str, argument: str) -> Stored:
    """Returns a modality of an array `(N, *input_shape)`, after a check of shape and numbers."""
    values = np.asarray(values)
    if values.shape[1:] != spec.input_shape:
        raise ValueError(
            f"`{argument}` must have the shape {('N', *spec.input_shape)}. "
            f"Received: {values.shape}."
        )
    if values.dtype.kind not in "biuf":
        raise TypeError(f"`{argument}` must be numbers. Received: dtype {values.dtype}.")
    bad = {}
    if values.dtype.kind == "f":
        wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        bad = {int(row): (source, "NaN or infinity") for row in np.flatnonzero(wrong)}
        values = values.astype("float32")
    elif isinstance(spec, Text):
        values = values.astype("int32")
    elif isinstance(spec, Audio):  # samples of a sound file: to −1…1
        values = values.astype("float32") / np.iinfo(values.dtype).max
    elif not spec.units.startswith("pixels") or values.dtype != np.uint8:
        values = values.astype("float32")
    else:
        values = values.copy()
    shape = spec.presence_shape or (1,)
    return Stored(spec, values, np.ones((len(values), *shape), bool), bad)


def set_present(modality: Stored, present: Any, argument: str) -> None:
    """Makes samples absent where `present`, `(N,)` or `(N, *presence_shape)`, is false."""
    present = np.asarray(present, bool)
    present = present[:, None] if present.ndim == 1 else present
    if present.shape != modality.present.shape:
        raise ValueError(
            f"`{argument}` must have the shape {modality.present.shape}. Received: {present.shape}."
        )
    modality.present = present.copy()
    gone = ~present
    if present.shape[1] == 1:
        gone = gone[:, 0]
    modality.values[gone] = 0
    whole = present.any(axis=1)
    finite = np.isfinite(modality.values).reshape(len(whole), -1).all(axis=1)
    modality.bad = {row: why for row, why in modality.bad.items() if not finite[row]}


def _stored(spec: Modality, values, empty, bad, what: str, reason="an empty cell") -> Stored:
    """Returns rows with the empty ones absent where that may be, and bad where not."""
    if not spec.optional:
        bad = {**bad, **{int(row): (what, reason) for row in np.flatnonzero(empty)}}
    return Stored(spec, values, ~empty[:, None], bad)


def _text(spec: Text, cells: Sequence[Any], name: str) -> Stored:
    found = texts(cells)
    empty = missing(cells)
    ids = np.concatenate(
        [spec.vectorize(found[at : at + PIECE]) for at in range(0, len(found), PIECE)]
    )
    what = f"column {name!r}"
    wordless = ~ids.any(axis=1) & ~empty
    bad = {}
    for row in np.flatnonzero(wordless):
        reason = f"an empty text: no token is left of {found[row]!r}"
        cell = cells[row]
        is_file = isinstance(cell, FileText)
        bad[int(row)] = (cell.path, cell.reason or reason) if is_file else (what, reason)
    ids[empty | wordless] = 0
    return _stored(spec, ids, empty, bad, what, "an empty text")


def _features(spec: Features, columns: Columns, names: Sequence[str], argument: str) -> Stored:
    if spec.input_shape != (len(names),):
        raise ValueError(
            f"`{argument}` must be {spec.input_shape[0]} columns for a vector of that width. "
            f"Received: {len(names)} columns for the shape {spec.input_shape}."
        )
    cells = {name: column(columns, name, argument) for name in names}
    values, empty, bad = _checked(cells, {})
    stacked = np.stack([values[name] for name in names], axis=-1).astype("float32")
    return _stored(spec, stacked, empty, bad, f"columns {list(names)}")


def _checked(numeric: Mapping[str, Sequence[Any]], categorical: Mapping[str, Sequence[Any]]):
    """Returns clean columns, which rows are empty throughout, and what is bad in others."""
    gaps = {name: missing(cells) for name, cells in {**numeric, **categorical}.items()}
    empty = np.stack(list(gaps.values())).all(axis=0)
    values, bad = {}, {}
    for name, cells in numeric.items():
        values[name], wrong = numbers(cells)
        for row, reason in wrong.items():
            bad.setdefault(row, (f"column {name!r}", reason))
    for name, cells in categorical.items():
        values[name] = texts(cells)
        for row in np.flatnonzero(gaps[name]):
            bad.setdefault(int(row), (f"column {name!r}", "an empty cell"))
    return values, empty, {row: why for row, why in bad.items() if not empty[row]}


def _table(spec: Tabular, columns: Columns, source: Any, argument: str) -> Stored:
    names = [*spec.numeric, *spec.categorical]
    given = names if source is None else [source] if isinstance(source, str) else list(source)
    if sorted(given) != sorted(names):
        wrong = sorted(set(given) - set(names))
        raise ValueError(
            f"`{argument}` must be the columns that the spec names, {names}, or be left out."
            f"{nearest(wrong[0], names) if wrong else ''} Received: {given}."
        )
    numeric = {name: column(columns, name, argument) for name in spec.numeric}
    categorical = {name: column(columns, name, argument) for name in spec.categorical}
    values, empty, bad = _checked(numeric, categorical)
    encoded = spec.encode(values)
    encoded[[*bad, *np.flatnonzero(empty)]] = 0
    return _stored(spec, encoded, empty, bad, f"columns {names}")
