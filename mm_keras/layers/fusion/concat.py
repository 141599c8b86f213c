"""Concatenation."""

import keras
from keras import ops

from mm_keras.layers.fusion.base import Fusion


@keras.saving.register_keras_serializable("mm_keras")
class ConcatFusion(Fusion):
    """Concatenates the pooled features, in the order of the sorted names.

    The plain baseline of multimodal learning, and often a strong one. An absent modality's block
    is zero.

    Output shape:
        `(B, ΣD_i)`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "audio": np.ones((2, 6, 8))}
    >>> tuple(mm.layers.ConcatFusion()(features).shape)
    (2, 16)

    Reference: Ngiam et al., Multimodal Deep Learning, 2011.
    """

    def fuse(self, pooled, present):
        return ops.concatenate([pooled[name] for name in self.names], axis=-1)

    def compute_output_shape(self, features_shape, mask_shape=None):
        batch = next(iter(features_shape.values()))[0]
        return (batch, sum(shape[-1] for shape in features_shape.values()))
