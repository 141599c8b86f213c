"""Samples that show a converter the range of every number in a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT, nearest

Batches = list[dict[str, np.ndarray]]


def check_representative(dataset: Any, inputs: Mapping[str, tf.TensorSpec]) -> None:
    """Raises unless a dataset gives what a model takes, as far as can be told without reading it.

    Args:
        dataset: A `tf.data.Dataset` of batches `({name: array}, …)`, or of `{name: array}`.
        inputs: `{name: tf.TensorSpec}` of the model.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "`representative` must be a tf.data.Dataset of batches ({name: array}, labels). "
            f"Received: an object of type {type(dataset).__name__}."
        )
    spec = _inputs_of(dataset.element_spec)
    if not isinstance(spec, Mapping):
        raise ValueError(
            "`representative` must give inputs as a dict by the names "
            f"{sorted(inputs)}. Received: {spec}."
        )
    for name, wanted in inputs.items():
        if name not in spec:
            raise ValueError(
                f"`representative` must give the inputs {sorted(inputs)}.{nearest(name, spec)} "
                f"Received: {sorted(spec)}, without {name!r}."
            )
        given = spec[name].shape
        if given.rank is not None and not given.is_compatible_with([None, *wanted.shape[1:]]):
            raise ValueError(
                f"`representative` must give {name!r} in batches of shape "
                f"{('B', *wanted.shape[1:])}. Received: {tuple(given)}."
            )


def read_representative(
    dataset: tf.data.Dataset, inputs: Mapping[str, tf.TensorSpec], samples: int
) -> Batches:
    """Returns batches of at most `samples` samples in all; what is absent is zero.

    Args:
        dataset: Checked.
        inputs: `{name: tf.TensorSpec}` of the model.
        samples: How many to take.
    """
    batches: Batches = []
    left = samples
    for element in dataset:
        given = _inputs_of(element)
        batch = {name: np.asarray(given[name])[:left] for name in inputs}
        for name, spec in inputs.items():
            _clear_absent(batch, name)
            if batch[name].shape[1:] != tuple(spec.shape[1:]):
                raise ValueError(
                    f"`representative` must give {name!r} in batches of shape "
                    f"{('B', *spec.shape[1:])}. Received: {batch[name].shape}."
                )
            if batch[name].dtype.kind == "f" and not np.isfinite(batch[name]).all():
                raise ValueError(
                    "`representative` must give finite numbers, but for absent modalities. "
                    f"Received: NaN or infinity in {name!r}."
                )
        count = len(batch[next(iter(inputs))])
        if count:
            batches.append(batch)
        left -= count
        if left <= 0:
            break
    if not batches:
        raise ValueError("`representative` must have at least one sample. Received: none.")
    return batches


def whole_pixels(batches: Batches, name: str) -> bool:
    """Whether an input holds whole numbers in 0…255 only."""
    return all(
        ((x := batch[name]) >= 0).all() and (x <= 255).all() and (x == np.floor(x)).all()
        for batch in batches
    )


def _inputs_of(element: Any) -> Any:
    return element[0] if isinstance(element, tuple) else element


def _clear_absent(batch: dict[str, np.ndarray], name: str) -> None:
    """Sets what is absent to zero: it may hold anything, and must not widen any range."""
    present, values = batch.get(name + PRESENT), batch[name]
    if present is not None and present.ndim == 2 and present.shape[1] in (1, *values.shape[1:2]):
        there = present.reshape(*present.shape, *(1,) * (values.ndim - 2)).astype(bool)
        batch[name] = np.where(there, values, np.zeros_like(values))
