"""Reads a dataset and says what is in it: `mm-keras inspect`."""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras._checks import PRESENT, nearest
from mm_keras.data import (
    BadRecords,
    FolderSource,
    TableSource,
    TFRecordSource,
    read_schema,
    read_table,
)
from mm_keras.data.census import gaps, guess, kind_of, sizes, spec_for
from mm_keras.data.sources import RowSource
from mm_keras.experiments.config import read_config
from mm_keras.experiments.fitting import check_splits
from mm_keras.experiments.inspection import Inspection, Part
from mm_keras.modalities import Modality, Text

BATCH = 64
SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test")
NO_LABEL = "no label"


def inspect_data(
    data: str | os.PathLike, labels: str | None = None, samples: int = 8
) -> Inspection:
    """Reads a dataset once, whole, and says what is in it.

    Args:
        data: A YAML file as `mm-keras train` takes it; a CSV file; a folder with one for each class
            (`<class>/<file>`, below `train`, `test` and the like, below modalities, or both); or a
            folder that `write_tfrecords` wrote. Of a CSV file or folder, kinds and sizes are
            concluded from endings and contents.
        labels: The column of labels of a CSV file; `None`: `label`, if there is one.
        samples: Number of samples to draw, spread over the classes.
    """
    path = pathlib.Path(data)
    if path.suffix in (".yaml", ".yml"):
        return _inspect_config(path, samples)
    if path.is_dir():
        if list(path.glob("schema.json")) or list(path.glob("*/schema.json")):
            return _inspect_tfrecords(path, samples)
        return _inspect_folder(path, samples)
    if path.is_file():
        return _inspect_csv(path, labels, samples)
    raise FileNotFoundError(f"`data` must be an existing file or folder. Received: data={path}.")


def _inspect_config(path: pathlib.Path, samples: int) -> Inspection:
    experiment = read_config(path)
    check_splits(experiment)
    source, splits = experiment.source, experiment.splits
    modalities = source.adapt(experiment.modalities, splits.train)
    census, empty = {}, {}
    if isinstance(source, RowSource):
        source = dataclasses.replace(source, on_error=_lenient(modalities))
        empty = Counter()
        for table in source.tables.values():
            empty.update(gaps(table))
    names = [name for name in (splits.train, splits.validation, splits.test) if name]
    found = Inspection(
        getattr(source, "name", path.name),
        modalities,
        {},
        getattr(source, "report", BadRecords()),
        census,
        dict(empty),
    )
    _count(
        found,
        {split: source.batches(split, modalities, BATCH) for split in names},
        getattr(source, "label_names", None),
        samples,
    )
    return found


def _lenient(modalities: Mapping[str, Modality]) -> dict[str, str]:
    policies = {
        name: "drop" if spec.presence_shape is None else "absent"
        for name, spec in modalities.items()
    }
    return policies if "labels" in modalities else {**policies, "labels": "drop"}


def _inspect_tfrecords(path: pathlib.Path, samples: int) -> Inspection:
    folders = [path] if (path / "schema.json").is_file() else sorted(path.glob("*/"))
    schemas = {folder.name: read_schema(folder) for folder in folders}
    source = TFRecordSource(path={folder.name: str(folder) for folder in folders})
    modalities = next(iter(schemas.values())).modalities
    found = Inspection(path.name, modalities, {}, BadRecords())
    _count(
        found,
        {split: source.batches(split, modalities, BATCH) for split in schemas},
        next(iter(schemas.values())).classes,
        samples,
    )
    return found


def _inspect_csv(path: pathlib.Path, labels: str | None, samples: int) -> Inspection:
    columns = read_table(path)
    if labels is None and "label" in columns:
        labels = "label"
    if labels is not None and labels not in columns:
        raise ValueError(
            f"`labels` must be a column of {path}, one of {sorted(columns)}."
            f"{nearest(labels, columns)} Received: labels={labels!r}."
        )
    guessed = guess(columns, str(path.parent), labels)
    if not guessed.modalities:
        raise ValueError(f"{path} must have columns beside the labels. Received: {list(columns)}.")
    empty = gaps(columns)
    if labels is None:
        labels = "label"
        columns[labels] = [NO_LABEL] * len(columns.places)
    source = TableSource(
        path={"all": str(path)},
        inputs=guessed.inputs,
        labels=labels,
        resize="pad",
        length="fit",
        on_error=_lenient(guessed.modalities),
    )
    columns.split = "all"
    source.__dict__["tables"] = {"all": columns}
    return _inspect_rows(source, guessed.modalities, guessed.census, samples, guessed.notes, empty)


def _inspect_folder(path: pathlib.Path, samples: int) -> Inspection:
    kinds: dict[tuple[str, str], list[str]] = {}  # (split, modality): files
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        if file.is_dir() or any(part.startswith(".") for part in parts):
            continue
        split = parts[0] if parts[0] in SPLITS else ""
        parts = parts[1:] if split else parts
        if len(parts) < 2:
            raise ValueError(
                f"{path} must have a folder for each class, and files in those. "
                f"Received: {file.relative_to(path)}."
            )
        kinds.setdefault((split, parts[0] if len(parts) > 2 else ""), []).append(str(file))
    if not kinds:
        raise ValueError(f"{path} must have files in folders of classes. Received: none.")
    names = sorted({name for _, name in kinds})
    if "" in names and len(names) > 1:
        raise ValueError(
            f"{path} must have its files equally deep: <class>/<file>, or "
            f"<modality>/<class>/<file>. Received both; among the latter: {names[1:]}."
        )
    modalities, census = {}, {}
    for name in names:
        files = [file for (_, other), files in kinds.items() if other == name for file in files]
        kind = Counter(kind_of(file) for file in files).most_common(1)[0][0]
        if kind is None:
            raise ValueError(
                f"{path / name} must have files of known endings. Received: {files[0]}."
            )
        if kind == "Text":
            texts = [pathlib.Path(f).read_text(encoding="utf-8", errors="replace") for f in files]
            spec = Text(64, 20_000, optional=True).adapt(texts)
        else:
            found = sizes(files, kind)
            if not found:
                raise ValueError(f"{path / name} must have files that can be read: none can.")
            spec, census[name or kind.lower()] = spec_for(found.most_common(1)[0][0], kind), found
        modalities[name or kind.lower()] = spec
    roots = {
        split or "all": str(path / split) for split in sorted({s for s, _ in kinds}, key=_order)
    }
    source = FolderSource(
        path=roots, modalities=modalities, resize="pad", length="fit", on_error="absent"
    )
    notes = [f"Files of {n!r} are taken for {type(s).__name__}." for n, s in modalities.items()]
    return _inspect_rows(source, modalities, census, samples, notes, {})


def _order(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else -1


def _inspect_rows(
    source: RowSource, modalities, census, samples: int, notes: list[str], empty: dict[str, int]
) -> Inspection:
    found = Inspection(source.name, modalities, {}, source.report, census, empty, notes=notes)
    batches = {split: source.batches(split, modalities, BATCH) for split in source.tables}
    _count(found, batches, source.label_names, samples)
    return found


def _count(found: Inspection, splits: Mapping[str, Any], names: Any, samples: int) -> None:
    """Reads every batch: counts into `found.parts`, and keeps some samples to draw."""
    kept: dict[str, list[tuple[str, dict[str, np.ndarray]]]] = {}  # by title
    for split, batches in splits.items():
        part = found.parts.setdefault(split, Part())
        for inputs, labels, *_ in batches.as_numpy_iterator():
            heads = labels if isinstance(labels, Mapping) else {"label": labels}
            shown = {head: _shown(head, values, names) for head, values in heads.items()}
            for head, values in shown.items():
                _add(part, head, values)
            count = len(next(iter(inputs.values())))
            part.samples += count
            for name in found.modalities:
                if name + PRESENT in inputs:
                    part.absent[name] += int((~inputs[name + PRESENT].any(axis=1)).sum())
            for row in range(count):
                title = "\n".join(
                    _text(values[row]) if len(shown) == 1 else f"{head}: {_text(values[row])}"
                    for head, values in shown.items()
                )
                same = kept.setdefault(title, []) if len(kept) < 1000 or title in kept else None
                if same is not None and len(same) < samples:
                    same.append((title, {name: value[row] for name, value in inputs.items()}))
    chosen = _spread(kept, samples)
    found.titles = [title for title, _ in chosen]
    found.inputs = {
        name: np.stack([inputs[name] for _, inputs in chosen])
        for name in (chosen[0][1] if chosen else ())
    }


def _shown(head: str, values: np.ndarray, names: Any) -> Sequence[Any]:
    """Returns names of classes, or numbers."""
    known = names.get(head) if isinstance(names, Mapping) else names
    if isinstance(known, list | tuple) and values.ndim == 1:
        return [str(known[int(value)]) for value in values]
    if values.dtype.kind in "biu" and values.ndim == 1:
        return [str(int(value)) for value in values]
    return list(values)


def _add(part: Part, head: str, values: Sequence[Any]) -> None:
    if all(isinstance(value, str) for value in values):
        part.labels.setdefault(head, Counter()).update(values)
    else:
        part.labels.setdefault(head, []).extend(np.ravel(values).tolist())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(f"{v:g}" for v in np.ravel(value))


def _spread(kept: Mapping[str, list], samples: int) -> list:
    """Returns about as many samples of each class, class after class."""
    counts = dict.fromkeys(sorted(kept), 0)
    while sum(counts.values()) < min(samples, sum(map(len, kept.values()))):
        for title in counts:
            if sum(counts.values()) < samples and counts[title] < len(kept[title]):
                counts[title] += 1
    return [sample for title, count in counts.items() for sample in kept[title][:count]]
