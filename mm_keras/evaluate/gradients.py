"""Gradients with respect to arrays, on the backend that Keras runs on."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def gradients(
    function: Callable[[list], tuple[Any, Any]], arrays: Sequence[np.ndarray]
) -> tuple[Any, list[np.ndarray]]:
    """Returns what a function gives beside its value, and the gradients of its value.

    Args:
        function: Takes a list of tensors, one for each of `arrays`, and returns a scalar and a
            structure of tensors.
        arrays: Of floats.

    Returns:
        That structure, of NumPy arrays, and the gradient for each array: zeros where the value
        does not depend on it.

    Raises:
        RuntimeError: On a backend without gradients.
    """
    backend = keras.config.backend()
    if backend not in _BACKENDS:
        raise RuntimeError(
            f"Gradients need KERAS_BACKEND to be one of {list(_BACKENDS)}. Received: {backend!r}."
        )
    beside, found = _BACKENDS[backend](function, [ops.convert_to_tensor(x) for x in arrays])
    found = [
        np.zeros_like(array) if gradient is None else ops.convert_to_numpy(gradient)
        for array, gradient in zip(arrays, found, strict=True)
    ]
    return keras.tree.map_structure(ops.convert_to_numpy, beside), found


def _tensorflow(function, tensors):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value, beside = function(tensors)
    return beside, tape.gradient(value, tensors)


def _jax(function, tensors):
    import jax

    found, beside = jax.grad(function, has_aux=True)(tensors)
    return beside, found


def _torch(function, tensors):
    import torch

    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    value, beside = function(tensors)
    return beside, torch.autograd.grad(value, tensors, allow_unused=True)


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
