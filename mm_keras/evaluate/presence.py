"""Which modalities may be absent, and batches without them."""

import itertools
from collections.abc import Iterable

import keras
import numpy as np

from mm_keras._checks import PRESENT
from mm_keras.evaluate.samples import Arrays, check_model


def modality_names(model: keras.Model) -> list[str]:
    """Returns the names of the modalities that may be absent; raises if there are others.

    What can't be absent can't be left out: zeros in its place would be a black picture.
    """
    check_model(model)
    names = [name for name in model.input if not name.endswith(PRESENT)]
    fixed = [name for name in names if name + PRESENT not in model.input]
    if fixed:
        raise ValueError(
            "`model` must have modalities that may be absent, to be measured without them: build "
            f"it of specs with optional=True. Received without a presence input: {fixed}."
        )
    return names


def presence_patterns(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns every set of names: all of them, those that lack one, …, none."""
    names = tuple(names)
    return [
        pattern
        for size in range(len(names), -1, -1)
        for pattern in itertools.combinations(names, size)
    ]


def keep(inputs: Arrays, kept: Iterable[str], names: Iterable[str]) -> Arrays:
    """Returns a batch in which, of the modalities `names`, those outside `kept` are absent."""
    absent = set(names) - set(kept)
    gone = {part for name in absent for part in (name, name + PRESENT)}
    return {name: np.zeros_like(array) if name in gone else array for name, array in inputs.items()}


def has_all(inputs: Arrays, names: Iterable[str]) -> np.ndarray:
    """Returns `(B,)` bool: whether a sample has something of each of the modalities."""
    size = len(next(iter(inputs.values())))
    found = np.ones(size, "bool")
    for name in names:
        found &= inputs[name + PRESENT].reshape(size, -1).any(axis=1)
    return found
