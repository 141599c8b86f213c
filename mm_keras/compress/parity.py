"""Whether two models give the same."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

_SIZES = (16, 64, 128, 256)  # for axes of unknown length


def random_inputs(model: keras.Model, seed: int = 0, batch: int = 2) -> Any:
    """Returns random inputs of a functional model: normal numbers, and 0 or 1 where integers go.

    Axes of unknown length get the first of several sizes that the model takes.
    """
    unknown = any(size is None for x in tree.flatten(model.input) for size in x.shape[1:])
    if not unknown:
        return _inputs(model, seed, batch, 0)
    for size in _SIZES:
        inputs = _inputs(model, seed, batch, size)
        try:
            model(inputs, training=False)
        except Exception:
            if size == _SIZES[-1]:
                raise
        else:
            break
    return inputs


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


def difference(expected: Any, actual: Any) -> float:
    """Returns the largest difference of two structures, relative to the size of the expected.

    `max |a − b| / max(1, max |a|)` over what is finite in both; infinite where they differ in
    structure, in shape or in what is finite.
    """
    pairs = list(zip(_arrays(expected), _arrays(actual), strict=True))
    return max((_difference(a, b) for a, b in pairs), default=0.0)


def _arrays(structure):
    return [np.asarray(x) for x in tree.flatten(structure)]


def _difference(a, b):
    if a.shape != b.shape:
        return math.inf
    if a.dtype.kind not in "fiub":
        return 0.0 if (a == b).all() else math.inf
    a, b = a.astype("float64"), b.astype("float64")
    finite = np.isfinite(a)
    if (finite != np.isfinite(b)).any():
        return math.inf
    if not finite.any():
        return 0.0
    a, b = a[finite], b[finite]
    return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
