"""What files hold, whatever a spec wants of them; for `mm-keras inspect`."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from mm_keras.data.cells import Columns, is_missing, missing
from mm_keras.data.decode import arrays, pixels, sound, video
from mm_keras.data.decode.common import extra
from mm_keras.data.rows import Rows
from mm_keras.modalities import Audio, Features, Image, Modality, Tabular, Text, Video
from mm_keras.modalities.cells import numbers

KINDS = {
    "Image": pixels.SUFFIXES,
    "Video": video.SUFFIXES,
    "Audio": (".wav", *sound.LIBSNDFILE),
    "Features": arrays.SUFFIXES,
    "Text": (".txt",),
}
FEW = 30  # distinct texts of a column that is taken for categories
NUMERIC = 0.9  # share of numbers in a column that is taken for numbers
LISTED = 3  # cells that a note names


def kind_of(path: str) -> str | None:
    """Returns the type of spec that reads a file of such an ending."""
    ending = os.path.splitext(path)[1].lower()
    return next((kind for kind, endings in KINDS.items() if ending in endings), None)


def measure(path: str, kind: str) -> tuple[int, ...]:
    """Returns the size of what a file holds.

    That is `(H, W, C)`, `(samples, rate)`, `(T, H, W, 3)` or an array's shape.

    Raises:
        Exception: Of whatever library reads it, if it cannot be read.
    """
    if kind == "Image":
        data = tf.io.read_file(path)
        return tuple(tf.io.decode_image(data, expand_animations=False).shape)
    if kind == "Audio":
        data = tf.io.read_file(path)
        wave, rate = (
            sound.decode_wav16(data)
            if sound.is_wav16(data)
            else sound.decode_other(data.numpy(), path.encode())
        )
        return len(wave), int(rate)
    if kind == "Video":
        av = extra("av", "video")
        with av.open(path) as container:
            stream = container.streams.video[0]
            size = (stream.height, stream.width, 3)
        return (video.frames_in(av, path), *size)
    return np.load(path, allow_pickle=False).shape


def sizes(paths: Iterable[str], kind: str) -> Counter:
    """Returns how many files there are of each size; those that cannot be read are left out."""
    found: Counter = Counter()
    for path in paths:
        try:
            found[measure(path, kind)] += 1
        except Exception:  # the pipeline says why
            continue
    return found


def spec_for(size: tuple[int, ...], kind: str) -> Modality:
    """Returns an optional spec of this size, for looking at data."""
    if kind == "Image":
        channels = size[2] if size[2] in (1, 3) else 3
        return Image((*size[:2], channels), backbone="SmallCNN", optional=True)
    if kind == "Audio":
        return Audio(max(size[0], size[1] // 20), size[1], optional=True)
    if kind == "Video":
        return Video(min(size[0], 8), size[1:], backbone="SmallCNN", optional=True)
    return Features(size, optional=True)


@dataclasses.dataclass
class Guess:
    """What the columns of a table are taken for.

    Args:
        modalities: `{name: spec}`.
        inputs: `{name: column}`.
        census: `{name: sizes of its files}`.
        notes: A sentence on each column.
    """

    modalities: dict[str, Modality] = dataclasses.field(default_factory=dict)
    inputs: dict[str, str] = dataclasses.field(default_factory=dict)
    census: dict[str, Counter] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


def guess(columns: Rows, root: str, labels: str | None) -> Guess:
    """Concludes what the columns of a table are, for looking at them."""
    found = Guess()
    modalities, inputs, census = found.modalities, found.inputs, found.census
    numeric, categorical = [], {}

    def note(column: str, words: str) -> None:
        found.notes.append(f"Column {column!r} is {words}.")

    for place, (column, cells) in enumerate(columns.items()):
        rows = [row for row, cell in enumerate(cells) if not is_missing(cell)]
        filled = [cells[row] for row in rows]
        if column == labels:
            continue
        if not filled:
            note(column, "left out: it is empty")
            continue
        is_name = column.isidentifier() and column.isascii() and column != "labels"
        name = column if is_name else f"column_{place}"
        bad = numbers(filled)[1]
        lines = ", ".join(
            f"{filled[at]!r} in line {columns.places[rows[at]].line}" for at in sorted(bad)[:LISTED]
        ) + (", …" if len(bad) > LISTED else "")
        share = 1 - len(bad) / len(filled)
        kinds = {kind_of(str(cell)) for cell in filled}
        if len(kinds) == 1 and None not in kinds and kinds != {"Text"}:
            (kind,) = kinds
            counted = sizes((os.path.join(root, str(cell)) for cell in filled), kind)
            if counted:
                modalities[name] = spec_for(counted.most_common(1)[0][0], kind)
                inputs[name], census[name] = column, counted
                note(column, f"taken for {kind}")
            else:
                note(column, f"left out: none of its files, such as {filled[0]}, can be read")
        elif share >= NUMERIC:
            numeric.append(column)
            but = f", but {len(bad):,} of {len(filled):,} cells are none: {lines}" if bad else ""
            note(column, f"taken for numbers of Tabular{but}")
        elif len({str(cell) for cell in filled}) <= min(FEW, len(filled) / 2):
            categorical[column] = tuple(sorted({str(cell).strip() for cell in filled}))
            count = len(categorical[column])
            note(column, f"taken for categories of Tabular, {count} different ones{_though(share)}")
        else:
            texts = [str(cell) for cell in filled]
            words = max(len(text.split()) for text in texts)
            spec = Text(min(words, 64), 20_000, optional=True).adapt(texts)
            if spec.vocabulary:
                modalities[name], inputs[name] = spec, column
                note(column, f"taken for Text{_though(share)}")
            else:
                note(column, f"left out: no word is left of its texts, such as {filled[0]!r}")
    if numeric or categorical:
        table = Tabular(numeric=tuple(numeric), categorical=categorical, optional=True)
        modalities["table" if "table" not in modalities else "table_"] = table
    return found


def _though(share: float) -> str:
    """Returns words on a column that is no numeric one, though most of its cells are numbers."""
    return f", though {share:.0%} of its cells are numbers" if share > 0.5 else ""


def gaps(columns: Columns) -> dict[str, int]:
    """Returns how many cells of each column are empty."""
    return {name: int(missing(cells).sum()) for name, cells in columns.items()}
