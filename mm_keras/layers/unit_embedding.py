"""Vectors of length 1."""

import keras
from keras import ops

SMALLEST = 1e-12  # of the square of a length


@keras.saving.register_keras_serializable("mm_keras")
class UnitEmbedding(keras.layers.Layer):
    """Scales each vector to length 1, in float32 whatever the dtype policy.

    The dot product of two such vectors is their cosine similarity, so that an index of nearest
    neighbours serves for retrieval.

    Call arguments:
        inputs: `(B, E)`.
        mask: Optional, `(B, N)` or `(B, 1)` bool: a sample without any position gets zeros, and its
            input no gradient.

    Output shape:
        `(B, E)`, float32.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> unit = mm.layers.UnitEmbedding()(np.array([[3.0, 4.0]]))
    >>> [round(float(x), 2) for x in unit[0]]
    [0.6, 0.8]
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        x = ops.cast(inputs, "float32")
        if mask is not None:
            present = ops.any(ops.cast(mask, "bool"), axis=1, keepdims=True)
            x = ops.where(present, x, ops.zeros_like(x))
        return unit(x)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape, dtype="float32")


def unit(x):
    """Returns float32 vectors, the last axis, at length 1; zeros stay, with a finite gradient."""
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    x = x / ops.maximum(largest, SMALLEST)  # squares neither overflow nor vanish
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, SMALLEST))
