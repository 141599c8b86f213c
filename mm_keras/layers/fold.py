"""Frames or views into the batch, and out of it again."""

import keras
from keras import ops

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class FoldBatch(keras.layers.Layer):
    """Folds the first axis of each sample into the batch: `(B, V, …)` → `(B·V, …)`.

    A backbone then sees all frames or views in one call, with right BatchNormalization
    statistics, which `TimeDistributed` does not give. The dtype stays, whatever the policy.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)  # pixels are not exact in float16

    def call(self, inputs):
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_spec(self, inputs):
        batch = None if None in inputs.shape[:2] else inputs.shape[0] * inputs.shape[1]
        return keras.KerasTensor((batch, *inputs.shape[2:]), dtype=inputs.dtype)


@keras.saving.register_keras_serializable("mm_keras")
class UnfoldBatch(keras.layers.Layer):
    """Takes frames or views out of the batch again: `(B·V, …)` → `(B, V, …)`, dtype unchanged.

    Args:
        count: Number V of frames or views.
    """

    def __init__(self, count: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_int("count", count)
        self.count = count

    def call(self, inputs):
        return ops.reshape(inputs, (-1, self.count, *inputs.shape[1:]))

    def compute_output_spec(self, inputs):
        batch = None if inputs.shape[0] is None else inputs.shape[0] // self.count
        return keras.KerasTensor((batch, self.count, *inputs.shape[1:]), dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "count": self.count}
