"""A similarity matrix into one vector."""

import keras
from keras import ops

from mm_keras._checks import check_choice, check_int
from mm_keras.layers.similarity import pair_mask

MODES = ("statistics", "convolution")
STATISTICS = 6
KERNEL = 3
LOWEST = -1e30


@keras.saving.register_keras_serializable("mm_keras")
class SimilarityPooling(keras.layers.Layer):
    """Turns a similarity matrix of any size into a vector of fixed size for a classifier.

    Args:
        mode: `"statistics"`: mean and maximum of the matrix, mean and minimum of the best match of
            each row, and of each column: 6 numbers. `"convolution"`: the matrix as a picture, two
            3×3 convolutions with ReLU, then the maximum over its entries: `filters` numbers.
        filters: Of each convolution.

    Call arguments:
        inputs: `(B, N_a, N_b)`, 0 where a mask leaves it out, as `mm.layers.Similarity` gives it.
        rows: Optional mask of the first modality's positions, `(B, N_a)` or `(B, 1)` bool.
        columns: Likewise of the second one's, `(B, N_b)` or `(B, 1)`. Where no entry is left, the
            output is zero.

    Output shape:
        `(B, 6)`, or `(B, filters)`.

    Raises:
        ValueError: If an argument, or the rank of the input, doesn't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> similarity = np.array([[[0.9, 0.1], [0.2, 0.4]]])
    >>> mm.layers.SimilarityPooling()(similarity).numpy().astype("float64").round(2).tolist()
    [[0.4, 0.9, 0.65, 0.4, 0.65, 0.4]]

    Reference: Pang et al., Text Matching as Image Recognition, 2016 (the convolution).
    """

    def __init__(self, mode: str = "statistics", filters: int = 16, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_choice("mode", mode, MODES)
        check_int("filters", filters)
        self.mode = mode
        self.filters = filters
        self.supports_masking = True

    def build(self, inputs_shape):
        if len(inputs_shape) != 3:
            raise ValueError(
                "`inputs` of SimilarityPooling must be similarity matrices (B, N_a, N_b). "
                f"Received shape: {tuple(inputs_shape)}."
            )
        self.convolutions = []
        if self.mode == "convolution":
            shape = (*inputs_shape, 1)
            for depth in (1, 2):  # float32: a similarity may be beyond float16
                convolution = keras.layers.Conv2D(
                    self.filters,
                    KERNEL,
                    padding="same",
                    activation="relu",
                    dtype="float32",
                    name=f"convolution_{depth}",
                )
                convolution.build(shape)
                shape = (*inputs_shape, self.filters)
                self.convolutions.append(convolution)

    def call(self, inputs, rows=None, columns=None):
        x = ops.cast(inputs, "float32")
        kept = pair_mask(rows, columns)
        kept = ops.ones_like(x, dtype="bool") if kept is None else kept
        kept = ops.logical_and(kept, ops.ones_like(x, dtype="bool"))
        if self.mode == "convolution":
            return ops.cast(self._convolve(x, kept), self.compute_dtype)
        parts = [_mean(x, kept, (1, 2)), _max(x, kept, (1, 2))]
        for axis in (2, 1):
            best, there = _max(x, kept, axis), ops.any(kept, axis=axis)
            parts += [_mean(best, there, 1), -_max(-best, there, 1)]
        return ops.cast(ops.stack(parts, axis=-1), self.compute_dtype)

    def _convolve(self, x, kept):
        x, kept = x[..., None], kept[..., None]
        for convolution in self.convolutions:
            x = convolution(x)
            x = ops.where(kept, x, ops.zeros_like(x))  # what is left out acts like the border
        return ops.max(x, axis=(1, 2))

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, rows=None, columns=None):
        width = self.filters if self.mode == "convolution" else STATISTICS
        return keras.KerasTensor((inputs.shape[0], width), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode, "filters": self.filters}


def _mean(x, kept, axis):
    kept = ops.cast(kept, "float32")
    return ops.sum(x * kept, axis=axis) / ops.maximum(ops.sum(kept, axis=axis), 1.0)


def _max(x, kept, axis):
    """Returns the maximum of what is kept, 0 where that is nothing."""
    highest = ops.max(ops.where(kept, x, ops.full_like(x, LOWEST)), axis=axis)
    return ops.where(ops.any(kept, axis=axis), highest, ops.zeros_like(highest))
