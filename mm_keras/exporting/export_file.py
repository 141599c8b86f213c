"""A model that was saved before, to another format."""

import os
import pathlib

from mm_keras._files import check_writable
from mm_keras.exporting.card import read_card
from mm_keras.exporting.export import SAVED_MODEL, export
from mm_keras.exporting.load import load
from mm_keras.exporting.writers import FORMATS

MODEL = "model.keras"
KEPT = ("classes", "metrics", "training_data")


def export_file(
    source: str | os.PathLike,
    format: str,
    path: str | os.PathLike | None = None,
    *,
    preprocessing: bool | str = False,
    check: bool = True,
) -> pathlib.Path:
    """Exports a `.keras` file, or that of a folder that `mm-keras train` wrote.

    Classes, metrics and training data of the file's card go into the new one.

    Args:
        source: A `.keras` file, or a folder with `model.keras` in it.
        format: As in `mm.export`.
        path: Where to; `None`: beside the file, with the ending of the format, or `saved_model`.
        preprocessing: As in `mm.export`.
        check: As in `mm.export`.

    Returns:
        The path that was written.

    Raises:
        OSError: If there is no such file, or `path` can't be written.
        ValueError: If an argument doesn't fit, or the file can't be loaded.
    """
    source = pathlib.Path(source)
    if source.is_dir():
        source /= MODEL
    if source.suffix != ".keras":
        raise ValueError(
            "`source` must be a .keras file, or a folder with model.keras in it: other formats "
            f"can't be converted. Received: source={source}."
        )
    if not source.is_file():
        raise FileNotFoundError(f"`source` must name a file. There is no {source}.")
    if path is None and format in FORMATS:
        suffix = FORMATS[format].suffix
        path = source.with_suffix(suffix) if suffix else source.with_name("saved_model")
    if path is not None:  # before the model is loaded
        check_writable(path, SAVED_MODEL if format == "saved_model" else None)
    card = read_card(source) or {}
    return export(
        load(source),
        path or source,
        format,
        preprocessing=preprocessing,
        check=check,
        **{key: card[key] for key in KEPT if card.get(key)},
    )
