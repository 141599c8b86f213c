"""The identity whose gradient is reversed."""

import keras
from keras import ops

from mm_keras._checks import check_number


@keras.saving.register_keras_serializable("mm_keras")
class GradientReversal(keras.layers.Layer):
    """Returns what it is given; the gradient that comes back is multiplied by −λ.

    Between features and a discriminator, it makes one descent train both sides of a game: the
    discriminator learns to tell domains apart, and the features learn to make it fail. λ is the
    non-trainable variable `current_factor`, so that `mm.training.ReversalSchedule` can raise it
    from 0 while a compiled model trains.

    Args:
        factor: λ where `current_factor` starts and a schedule ends, at least 0. At 0 nothing
            comes back.

    Call arguments:
        inputs: Any float tensor.

    Output shape:
        That of `inputs`, with the same bits in it.

    Raises:
        ValueError: If `factor` is negative.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.GradientReversal(0.5)
    >>> layer(np.array([[1.0, -2.0]])).numpy().tolist()
    [[1.0, -2.0]]

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016.
    """

    def __init__(self, factor: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        check_number("factor", factor)
        self.factor = factor
        self.supports_masking = True

    def build(self, inputs_shape):
        self.current_factor = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.factor),
            dtype="float32",
            autocast=False,
            trainable=False,
            name="current_factor",
        )

    def call(self, inputs):
        return scale_gradient(inputs, -ops.convert_to_tensor(self.current_factor))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@ops.custom_gradient
def scale_gradient(x, factor):
    """Returns `x`; the gradient that comes back is multiplied by `factor`, which gets none.

    Args:
        x: A float tensor.
        factor: A float tensor that broadcasts to `x`.
    """

    def grad(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        scaled = ops.cast(upstream, "float32") * ops.cast(factor, "float32")
        return ops.cast(scaled, upstream.dtype), ops.zeros_like(factor)

    return x, grad
