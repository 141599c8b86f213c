"""Samples from folders: one for each class."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mm_keras._checks import nearest
from mm_keras.data.cells import Columns, FileText
from mm_keras.data.decode import arrays, pixels, sound, video
from mm_keras.data.table import check_modalities, from_table
from mm_keras.modalities import Audio, Features, Image, Modality, Text, Video, Views

SUFFIXES = {
    Image: pixels.SUFFIXES,
    Views: pixels.SUFFIXES,
    Audio: sound.SUFFIXES,
    Video: video.SUFFIXES,
    Text: (".txt",),
    Features: arrays.SUFFIXES,
}


def from_folder(
    root: str | os.PathLike,
    modalities: Mapping[str, Modality],
    *,
    classes: Any = None,
    **options: Any,
) -> tf.data.Dataset:
    """Returns the files below a folder as samples `({name: …}, label)`, not batched.

    One modality: `root/<class>/<file>`. Several: `root/<modality>/<class>/<file>`, and files that
    differ in modality and ending only belong to one sample: `root/image/cat/1.png` and
    `root/audio/cat/1.wav`. Folders within that of a class count as part of a file's name. A sample
    of `Views` is a folder of pictures, whose order is that of their names: `root/mug/7/side.png`.
    Texts are .txt files in UTF-8, and are read at once. Hidden files are passed over; a file with
    an ending that the modality doesn't know is an error.

    A sample that lacks a file lacks an optional modality; for any other that is a bad record.

    Args:
        root: The folder.
        modalities: `{name: spec}`, of anything but `Tabular`.
        classes: Names of the classes, in the order of their ids; `None`: those of the folders,
            sorted.
        **options: `resize`, `length`, `resample`, `sampling`, `exif`, `on_error`, `report`,
            `shuffle`, `seed`, `origin`: as in `from_table`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no classes, or a file of another kind.
    """
    table = read_folder(root, modalities)
    return from_folder_table(table, root, modalities, classes=classes, **options)


def from_folder_table(table, root, modalities, **options: Any) -> tf.data.Dataset:
    """Returns samples of (some rows of) what `read_folder` returned."""
    options.setdefault("origin", os.fspath(root))
    return from_table(table, modalities, inputs=folder_inputs(modalities), root="", **options)


def folder_inputs(modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Returns `{name: columns}` of what `read_folder` returns."""
    return {
        name: [f"{name} {view}" for view in range(spec.count)] if isinstance(spec, Views) else name
        for name, spec in modalities.items()
    }


def read_folder(root: str | os.PathLike, modalities: Mapping[str, Modality]) -> Columns:
    """Returns a table of the samples below a folder: paths (or texts), `"label"` and `"sample"`.

    Args:
        root: The folder; see `from_folder`.
        modalities: `{name: spec}`.
    """
    check_modalities(modalities)
    root = pathlib.Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"`root` must be an existing folder. Received: root={root}.")
    found: dict[str, dict[str, Any]] = {}
    for name, spec in modalities.items():
        suffixes = next((s for kind, s in SUFFIXES.items() if isinstance(spec, kind)), None)
        if suffixes is None:
            raise TypeError(
                f"`modalities[{name!r}]` must be read from files, which {type(spec).__name__} is "
                f"not: use `from_table`. Received: {spec!r}."
            )
        home = root / name if len(modalities) > 1 else root
        if not home.is_dir():
            folders = sorted(entry.name for entry in _entries(root) if entry.is_dir())
            raise FileNotFoundError(
                f"`root` must have a folder for each of several modalities, {name!r} too."
                f"{nearest(name, folders)} Received: {root} with {folders}."
            )
        for sample, path in _samples(home, isinstance(spec, Views), suffixes):
            known = found.setdefault(sample, {})
            if isinstance(spec, Views):
                known.setdefault(name, []).append(path)
            elif name in known:
                raise ValueError(
                    f"`root` must have one file for each sample and modality. "
                    f"Received: {known[name]} and {path}."
                )
            else:
                known[name] = path
    if not found:
        raise ValueError(
            f"`root` must have a folder for each class, with files in it. Received: {root}, "
            "without any."
        )
    return _columns(found, modalities)


def _columns(found: Mapping[str, Mapping[str, Any]], modalities) -> Columns:
    samples = sorted(found)
    columns: Columns = {
        "sample": samples,
        "label": [sample.split("/")[0] for sample in samples],
    }
    for name, spec in modalities.items():
        cells = [found[sample].get(name) for sample in samples]
        if isinstance(spec, Views):
            for sample, views in zip(samples, cells, strict=True):
                if views and len(views) > spec.count:
                    raise ValueError(
                        f"`root` must have at most {spec.count} views of a sample. "
                        f"Received: {len(views)} for {sample!r}."
                    )
            for view in range(spec.count):
                columns[f"{name} {view}"] = [
                    sorted(views)[view] if views and view < len(views) else None for views in cells
                ]
        elif isinstance(spec, Text):
            columns[name] = [path and _text(path) for path in cells]
        else:
            columns[name] = cells
    return columns


def _text(path: str) -> FileText:
    try:
        return FileText(pathlib.Path(path).read_text(encoding="utf-8-sig"), path)
    except UnicodeDecodeError as error:
        return FileText("", path, f"no text in UTF-8: {error}")
    except OSError as error:
        return FileText("", path, f"cannot be read: {error.strerror}")


def _samples(home: pathlib.Path, in_folders: bool, suffixes: tuple[str, ...]):
    """Yields (name of the sample, path of a file) of every file in folders of `home`."""
    for entry in _entries(home):
        if entry.is_dir():
            yield from _walk(entry.path, entry.name, in_folders, suffixes)
        else:
            raise ValueError(
                f"{home} must have folders only, one for each class. Received: {entry.name!r}."
            )


def _entries(folder: str | os.PathLike) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:  # knows which are folders without asking again
        return [entry for entry in entries if not entry.name.startswith(".")]


def _walk(folder: str, prefix: str, in_folders: bool, suffixes: tuple[str, ...]):
    for entry in _entries(folder):
        stem, suffix = os.path.splitext(entry.name)
        if entry.is_dir():
            yield from _walk(entry.path, f"{prefix}/{entry.name}", in_folders, suffixes)
        elif suffix.lower() not in suffixes:
            raise ValueError(
                f"{folder} must have files that end in one of {list(suffixes)}. "
                f"Received: {entry.name!r}."
            )
        else:
            yield prefix if in_folders else f"{prefix}/{stem}", entry.path
