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
        if len(inputs.shape) == 2:  # one vector a sample
            return ops.where(mask, inputs, ops.zeros_like(inputs))
        return zero_masked(inputs, mask)[0]

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


def zero_masked(inputs, mask):
    """Returns `(B, N, D)` with zeros where the mask leaves positions out, and the mask `(B, N)`.

    What is absent may hold anything, and no weight times infinity is not a number.

    Args:
        inputs: `(B, N, D)`.
        mask: `(B, N)` or `(B, 1)` bool; or `None`, which comes back.
    """
    if mask is None:
        return inputs, None
    mask = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(inputs)[:2])
    return ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs)), mask


@keras.saving.register_keras_serializable("mm_keras")
class ViewMask(keras.layers.Layer):
    """The mask of views, one entry for each: `(B, V, …)` → `(B, V)` bool.

    Call arguments:
        inputs: `(B, V, …)`, of which only the shape matters.
        present: Optional, `(B, 1)` or `(B, V)` bool: which of them are there. `None`: all.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs, present=None):
        views = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        return views if present is None else ops.logical_and(views, ops.cast(present, "bool"))

    def compute_output_spec(self, inputs, present=None):
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")
