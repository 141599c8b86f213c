"""The wide part of wide and deep."""

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class HashedWide(keras.layers.Layer):
    """A linear model on hashed crosses: the sum of one looked-up row for each cross.

    A forward or backward pass touches one row a cross, however many buckets there are. Rows start
    at zero, as the weights of a linear model do.

    Args:
        crosses: Number of crosses.
        buckets: Hash buckets of each cross.
        width: Width of a row.

    Call arguments:
        inputs: `(B, crosses)` float32: bucket numbers in [0, buckets).

    Output shape:
        `(B, width)`.

    Reference: Cheng et al., Wide & Deep Learning for Recommender Systems, 2016.
    """

    def __init__(self, crosses: int, buckets: int, width: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_int("crosses", crosses)
        check_int("buckets", buckets)
        check_int("width", width)
        self.crosses = crosses
        self.buckets = buckets
        self.width = width

    def build(self, input_shape):
        if input_shape[-1] != self.crosses:
            raise ValueError(
                f"`inputs` must have {self.crosses} columns, one for each cross. "
                f"Received shape: {tuple(input_shape)}."
            )
        self.rows = self.add_weight(
            shape=(self.crosses * self.buckets, self.width), initializer="zeros", name="rows"
        )

    def call(self, inputs):
        return ops.cast(ops.sum(self.look_up(inputs), axis=1), self.compute_dtype)

    def look_up(self, inputs):
        """Returns the row of each cross, `(B, crosses, width)`, of which the output is the sum."""
        first = np.arange(self.crosses, dtype="int32") * self.buckets  # of each cross's rows
        return ops.take(self.rows, ops.cast(inputs, "int32") + first, axis=0)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], self.width), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "crosses": self.crosses,
            "buckets": self.buckets,
            "width": self.width,
        }
