"""Whether two models give the same."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

_SIZES = (16, 64, 128, 256, 4)  # for axes of unknown length, in the order in which they are tried


def random_inputs(model: keras.Model, seed: int = 0, batch: int = 2) -> Any:
    """Returns random inputs of a functional model: normal numbers, and 0 or 1 where integers go.

    Axes of unknown length get the first of several sizes that the model takes.
    """
    unknown = any(size is None for x in tree.flatten(model.input) for size in x.shape[1:])
    if not unknown:
        return _inputs(model, seed, batch, 0)
    for size in _SIZES[:-1]:
        inputs = _inputs(model, seed, batch, size)
        try:
            model(inputs, training=False)
        except (ValueError, tf.errors.OpError):  # the graph is for another size
            continue
        return inputs
    return _inputs(model, seed, batch, _SIZES[-1])


def _inputs(model, seed, batch, size):
    rng = np.random.default_rng(seed)
    return tree.map_structure(lambda x: _random(x, rng, batch, size), model.input)


def _random(x, rng, batch, size):
    shape = [x.shape[0] or batch, *(size if axis is None else axis for axis in x.shape[1:])]
    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype == "bool":
        return tf.constant(rng.integers(0, 2, shape).astype(bool))
    if dtype == "string":
        return tf.constant(rng.choice(["a", "b c", ""], shape))
    if "int" in dtype:
        return tf.constant(rng.integers(0, 2, shape), dtype)
    return tf.constant(rng.normal(size=shape), dtype)


def difference(expected: Any, actual: Any, least: float = 1.0) -> float:
    """Returns the largest difference of two structures, relative to the size of the expected.

    `max |a − b| / max(least, max |a|)` over what is finite in both; infinite where they differ in
    shape or in what is finite.
    """
    pairs = zip(_arrays(expected), _arrays(actual), strict=True)
    return max((_difference(a, b, least) for a, b in pairs), default=0.0)


def size(structure: Any) -> float:
    """Returns the largest finite magnitude in a structure of arrays."""
    arrays = [a[np.isfinite(a)] for a in _arrays(structure) if a.dtype.kind in "fiu"]
    return max((float(np.abs(a).max(initial=0)) for a in arrays), default=math.inf)


def _arrays(structure):
    return [np.asarray(x) for x in tree.flatten(structure)]


def _difference(a, b, least):
    if a.shape != b.shape:
        return math.inf
    if a.dtype.kind not in "fiub":
        return 0.0 if (a == b).all() else math.inf
    a, b = a.astype("float64"), b.astype("float64")
    finite = np.isfinite(a)
    if (finite != np.isfinite(b)).any():
        return math.inf
    error = np.abs(a - b)[finite].max(initial=0)
    return float(error / max(least, np.abs(a[finite]).max(initial=0))) if error else 0.0
