"""Which files the data of an experiment are in, and a digest that tells when they have changed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mm_keras.data.sources.rows import ColumnSource
from mm_keras.datasets.source import Source
from mm_keras.experiments.config import Experiment
from mm_keras.modalities import Modality, Tabular, Text

WHOLE_BYTES = 2**28  # of all files: beyond that, sizes and times must do


def data_digest(experiment: Experiment) -> str:
    """Returns a digest of the files that an experiment's data are in.

    It is of their contents, or, where they have more than 256 MiB together, of their sizes and
    times of modification.

    Args:
        experiment: Whose files are looked at: those that its dataset names, those in its folders,
            and those that cells of its tables name.
    """
    sources = [source for source in (experiment.source, experiment.target) if source]
    found = {path for one in sources for path in _files(one, experiment.modalities)}
    return _digest(sorted(found))


def _files(source: Any, modalities: Mapping[str, Modality]) -> Iterator[str]:
    if isinstance(source, Source):
        yield from _below(source.folder())
        return
    paths = source.path.values() if isinstance(source.path, Mapping) else [source.path]
    for path in paths:
        yield from _below(os.fspath(path))
    if isinstance(source, ColumnSource):
        yield from _named_in_cells(source, modalities)


def _below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def _named_in_cells(source: ColumnSource, modalities: Mapping[str, Modality]) -> Iterator[str]:
    for name, spec in modalities.items():
        if isinstance(spec, Tabular | Text):
            continue
        columns = source.inputs.get(name, name)
        columns = [columns] if isinstance(columns, str) else columns
        for split, table in source.tables.items():
            for cells in (table[column] for column in columns if column in table):
                for cell in {cell for cell in cells if isinstance(cell, str) and cell.strip()}:
                    path = os.path.join(source._root(split), cell)
                    if os.path.isfile(path):
                        yield path


def _digest(paths: Iterable[str]) -> str:
    states = {path: os.stat(path) for path in paths if os.path.isfile(path)}
    whole = sum(state.st_size for state in states.values()) <= WHOLE_BYTES
    digest = hashlib.sha256()
    for path, state in states.items():
        digest.update(f"{path}\0{state.st_size}\0".encode())
        if whole:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            digest.update(f"{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()
