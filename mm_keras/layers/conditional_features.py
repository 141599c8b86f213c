"""Features joined with predictions, for a discriminator that knows the class."""

import keras
from keras import ops

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class ConditionalFeatures(keras.layers.Layer):
    """The outer product of features and predictions, `f ⊗ p`, or a random projection of it.

    A discriminator of it sees each class' features apart, so that classes are aligned, rather than
    the domains as wholes. `‖f ⊗ p‖ = ‖f‖ · ‖p‖`. Where D · C is above `max_width`, it is
    `(R_f f) ⊙ (R_p p) · √(1 / max_width)` with fixed random normal matrices, whose inner products
    are, on average, those of the outer product.

    Args:
        max_width: Largest width of the result.
        seed: Of the random matrices.

    Call arguments:
        inputs: Features `(B, D)`.
        predictions: `(B, C)`. No gradient reaches them.

    Output shape:
        `(B, min(D · C, max_width))`.

    Raises:
        ValueError: If `max_width` is below 1, or shapes don't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> f, p = np.array([[1.0, 2.0]]), np.array([[0.5, 0.25, 0.25]])
    >>> mm.layers.ConditionalFeatures()(f, p).numpy().tolist()
    [[0.5, 0.25, 0.25, 1.0, 0.5, 0.5]]

    Reference: Long et al., Conditional Adversarial Domain Adaptation, 2018.
    """

    def __init__(self, max_width: int = 4096, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check_int("max_width", max_width)
        self.max_width = max_width
        self.seed = seed

    def build(self, inputs_shape, predictions_shape):
        for argument, shape in (("inputs", inputs_shape), ("predictions", predictions_shape)):
            if len(shape) != 2:
                raise ValueError(
                    f"`{argument}` of ConditionalFeatures must be (B, width). "
                    f"Received shape: {tuple(shape)}."
                )
        self.projections = None
        if inputs_shape[-1] * predictions_shape[-1] > self.max_width:
            seeds = (None, None) if self.seed is None else (self.seed, self.seed + 1)
            self.projections = [
                self.add_weight(
                    shape=(width, self.max_width),
                    initializer=keras.initializers.RandomNormal(stddev=1.0, seed=seed),
                    trainable=False,
                    name=f"{name}_projection",
                )
                for name, width, seed in (
                    ("feature", inputs_shape[-1], seeds[0]),
                    ("prediction", predictions_shape[-1], seeds[1]),
                )
            ]

    def call(self, inputs, predictions):
        predictions = ops.cast(ops.stop_gradient(predictions), inputs.dtype)
        if self.projections is not None:
            features, classes = self.projections
            x = ops.matmul(inputs, features) * self.max_width**-0.5
            return x * ops.matmul(predictions, classes)
        x = ops.expand_dims(inputs, 2) * ops.expand_dims(predictions, 1)
        return ops.reshape(x, (-1, inputs.shape[-1] * predictions.shape[-1]))

    def compute_output_shape(self, inputs_shape, predictions_shape):
        width = min(inputs_shape[-1] * predictions_shape[-1], self.max_width)
        return (inputs_shape[0], width)

    def get_config(self):
        return {**super().get_config(), "max_width": self.max_width, "seed": self.seed}
