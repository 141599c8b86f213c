"""Do the data fit what an experiment says of them? Asked before anything is built or trained."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mm_keras._checks import nearest
from mm_keras.data import TFRecordSource
from mm_keras.data.cells import column
from mm_keras.data.sources import RowSource
from mm_keras.datasets.source import Source
from mm_keras.experiments.config import Experiment
from mm_keras.modalities.cells import numbers
from mm_keras.models import Classification
from mm_keras.models.heads import check_heads

SHOWN = 10  # names of classes in a message


def check_splits(experiment: Experiment) -> None:
    """Raises unless the datasets have the splits that the experiment trains and tests on."""
    splits = experiment.splits
    for source in (experiment.source, experiment.target):
        if source is None:
            continue
        for key in ("train", "validation", "test"):
            split = getattr(splits, key)
            known = None if split is None else _known_splits(source, split)
            if known is not None and split not in known:
                without = ", or null, which trains without one: `validation: null`"
                raise ValueError(
                    f"`dataset.{key}` must be one of the splits {sorted(known)} of {source.name}"
                    f"{without if key == 'validation' else ''}.{nearest(split, known)} "
                    f"Received: {key}={split!r}"
                    f"{', which holds where the file names none' if split == key else ''}."
                )


def _known_splits(source: Any, split: str) -> Iterable[str] | None:
    """Returns the splits of a dataset, or `None` where that can't be told from outside."""
    if isinstance(source, RowSource):
        return source.tables
    if isinstance(source, TFRecordSource) and isinstance(source.path, Mapping):
        return source.path
    if isinstance(source, TFRecordSource) and os.path.isdir(source.path):
        return [entry.name for entry in os.scandir(source.path) if entry.is_dir()]
    if isinstance(source, Source) and split.isidentifier():  # not "train[:80%]"
        return source.splits()
    return None


def check_classes(experiment: Experiment) -> None:
    """Raises if a head has another number of classes than the data name, or fewer than they have.

    Args:
        experiment: Whose data have rows; what others have is seen when they are read.
    """
    source = experiment.source
    if not isinstance(source, RowSource):
        return
    heads = check_heads(experiment.num_classes)
    for name, head in heads.items():
        if not isinstance(head, Classification):
            continue
        several = isinstance(source.labels, Mapping)
        label = source.labels.get(name) if several else source.labels
        names = source.classes_of(name)
        argument = f"num_classes[{name!r}]" if len(heads) > 1 else "num_classes"
        if names:
            _check_names(argument, label, names, head.units, source.name)
        elif isinstance(label, str):
            _check_ids(argument, label, source, head.units)


def _check_names(argument: str, label: Any, names: Sequence, units: int, origin: str) -> None:
    if len(names) == units:
        return
    shown = ", ".join(map(repr, names[:SHOWN]))
    more = ", …" if len(names) > SHOWN else ""
    further = " Classes that are in no row must be named in `dataset.classes`."
    further = further if units > len(names) else ""
    raise ValueError(
        f"`{argument}` must be {len(names)}, the number of classes in column {label!r} of "
        f"{origin}: {shown}{more}.{further} Received: {argument}={units}."
    )


def _check_ids(argument: str, label: str, source: RowSource, units: int) -> None:
    """Raises if labels that are ids of classes go beyond the last class."""
    for split, table in source.tables.items():
        cells = column(table, label, "labels")
        if np.ndim(cells) > 1:  # distributions
            continue
        highest = numbers(cells)[0].max(initial=0)
        if highest >= units:
            raise ValueError(
                f"`{argument}` must be above the highest label, which is {highest:g} in column "
                f"{label!r} of {source.name}, {split}: ids of classes count from 0. "
                f"Received: {argument}={units}."
            )
