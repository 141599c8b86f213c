"""Masks: which positions of a modality are there."""

import keras
from keras import ops

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class PaddingMask(keras.layers.Layer):
    """The mask of token ids: `(B, T)` → `(B, T)` bool, true where the id is not 0.

    A text that is absent, or empty, has no position and so counts as absent in every fusion.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        return ops.not_equal(inputs, 0)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype="bool")


@keras.saving.register_keras_serializable("mm_keras")
class AlwaysPresent(keras.layers.Layer):
    """The mask of a modality that no sample lacks: `(B, …)` → `(B, 1)` bool, all true."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        return ops.ones((ops.shape(inputs)[0], 1), dtype="bool")

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], 1), dtype="bool")


@keras.saving.register_keras_serializable("mm_keras")
class ZeroMasked(keras.layers.Layer):
    """Sets the positions that a mask leaves out to zero, and their gradient with them.

    Call arguments:
        inputs: `(B, N, D)`, or `(B, D)` where a whole sample is left out.
        mask: `(B, N)` or `(B, 1)` bool; for `(B, D)`: `(B, 1)`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask):
        mask = ops.expand_dims(mask, -1) if len(inputs.shape) == 3 else mask
        return ops.where(mask, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, inputs_shape, mask_shape=None):
        return inputs_shape


@keras.saving.register_keras_serializable("mm_keras")
class RepeatMask(keras.layers.Layer):
    """The mask of positions, given one of views: `(B, V)` → `(B, V·times)`, each entry repeated.

    Args:
        times: Number of positions of each view.
    """

    def __init__(self, times: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_int("times", times)
        self.times = times

    def call(self, inputs):
        return ops.repeat(inputs, self.times, axis=1)

    def compute_output_spec(self, inputs):
        shape = (inputs.shape[0], inputs.shape[1] * self.times)
        return keras.KerasTensor(shape, dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "times": self.times}


@keras.saving.register_keras_serializable("mm_keras")
class AnyPresent(keras.layers.Layer):
    """The mask of a modality, given one of its views or positions: `(B, N)` → `(B, 1)` bool."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        return ops.any(ops.cast(inputs, "bool"), axis=1, keepdims=True)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], 1), dtype="bool")


@keras.saving.register_keras_serializable("mm_keras")
class AllPresent(keras.layers.Layer):
    """The mask of several modalities together: `[(B, N_i), …]` → `(B, 1)` bool.

    True where each of them has a position.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        present = [ops.any(ops.cast(mask, "bool"), axis=1, keepdims=True) for mask in inputs]
        return ops.all(ops.concatenate(present, axis=1), axis=1, keepdims=True)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs[0].shape[0], 1), dtype="bool")
