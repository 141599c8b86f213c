"""Batch normalisation over the batch of all replicas."""

import contextlib
from collections.abc import Iterator

import keras

from mm_keras._checks import check_choice
from mm_keras.distribute.workers import Workers

WAYS = ("synchronize", "average")


def check_batch_norm(way: str) -> None:
    """Raises unless it is a way to keep statistics equal."""
    check_choice("batch_norm", way, WAYS)


@contextlib.contextmanager
def batch_norm(model: keras.Model, workers: Workers, way: str) -> Iterator[None]:
    """Lets every BatchNormalization normalise with the statistics of the whole batch.

    Within the block they are synchronized, if `way` is so, and afterwards as they were.
    """
    changed = []
    if way == "synchronize" and workers.strategy.num_replicas_in_sync > 1:
        changed = [layer for layer in _batch_norms(model) if not layer.synchronized]
    for layer in changed:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in changed:
            layer.synchronized = False


def _batch_norms(layer: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """Returns those in a model, in models within it and in layers made of layers."""
    found, seen, waiting = [], set(), [layer]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, keras.layers.Layer) and id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, keras.layers.BatchNormalization):
                found.append(one)
            waiting.extend(getattr(one, "layers", []))
            waiting.extend(vars(one).values())
    return found
