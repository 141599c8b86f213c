"""Columns of a table into a feature sequence."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class ColumnEmbedding(keras.layers.Layer):
    """One learnt vector for each column: `x_j w_j + b_j` for numbers, a looked-up row for ids.

    Args:
        numeric: Number of numeric columns, which come first.
        vocabulary_sizes: Number of ids of each categorical column.
        width: Width D of a column's vector.

    Call arguments:
        inputs: `(B, numeric + len(vocabulary_sizes))` float32; ids lie in [0, size).

    Output shape:
        `(B, columns, D)`.

    Reference: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021.
    """

    def __init__(self, numeric: int, vocabulary_sizes: Sequence[int], width: int, **kwargs):
        super().__init__(autocast=False, **kwargs)  # ids are not exact in float16
        check_int("numeric", numeric, minimum=0)
        check_int("width", width)
        for size in vocabulary_sizes:
            check_int("vocabulary_sizes", size)
        if not numeric and not vocabulary_sizes:
            raise ValueError(
                "`numeric` and `vocabulary_sizes` must give at least one column together. "
                f"Received: {numeric=}, {vocabulary_sizes=}."
            )
        self.numeric = numeric
        self.vocabulary_sizes = tuple(vocabulary_sizes)
        self.width = width

    def build(self, input_shape):
        columns = self.numeric + len(self.vocabulary_sizes)
        if input_shape[-1] != columns:
            raise ValueError(
                f"`inputs` must have {columns} columns. Received shape: {tuple(input_shape)}."
            )
        uniform = keras.initializers.RandomUniform(-(self.width**-0.5), self.width**-0.5)
        if self.numeric:
            shape = (self.numeric, self.width)
            self.scale = self.add_weight(shape=shape, initializer=uniform, name="scale")
            self.shift = self.add_weight(shape=shape, initializer=uniform, name="shift")
        if self.vocabulary_sizes:
            shape = (sum(self.vocabulary_sizes), self.width)
            self.rows = self.add_weight(shape=shape, initializer=uniform, name="rows")

    def call(self, inputs):
        columns = []
        if self.numeric:
            numbers = ops.expand_dims(inputs[:, : self.numeric], -1)  # (B, columns, 1)
            scaled = numbers * ops.cast(self.scale, "float32") + ops.cast(self.shift, "float32")
            columns.append(ops.cast(scaled, self.compute_dtype))
        if self.vocabulary_sizes:
            first = np.cumsum((0, *self.vocabulary_sizes[:-1]))  # of each column's rows
            ids = ops.cast(inputs[:, self.numeric :], "int32") + first.astype("int32")
            columns.append(ops.cast(ops.take(self.rows, ids, axis=0), self.compute_dtype))
        return ops.concatenate(columns, axis=1)

    def compute_output_spec(self, inputs):
        shape = (inputs.shape[0], inputs.shape[1], self.width)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "numeric": self.numeric,
            "vocabulary_sizes": list(self.vocabulary_sizes),
            "width": self.width,
        }
