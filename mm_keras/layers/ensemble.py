"""The mean prediction of several students."""

import keras
from keras import ops

from mm_keras._checks import check_choice
from mm_keras.layers.students import ACTIVATIONS, check_students, stack_students


@keras.saving.register_keras_serializable("mm_keras")
class Ensemble(keras.layers.Layer):
    """Averages the predictions of the students that are present.

    It is a mean of probabilities, for logits too: they become probabilities, are averaged, and the
    result's logits are returned. A sample without any student gets what says nothing: the uniform
    distribution, the probability 0.5, or the number 0.

    Args:
        activation: `"softmax"`, `"sigmoid"` or `"linear"`: what makes predictions of logits.
        logits: Whether inputs and output are values before that activation.

    Call arguments:
        inputs: `{student: (B, C)}`.
        mask: Optional, `{student: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            A student without any position has no effect and gets no gradient.

    Output shape:
        `(B, C)`, float32.

    Raises:
        ValueError: If an argument, or the inputs' shapes, don't fit.
        TypeError: If `inputs` is no dict.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> students = {"image": np.array([[1.0, 0.0]]), "audio": np.array([[0.5, 0.5]])}
    >>> mm.layers.Ensemble()(students).numpy().tolist()
    [[0.75, 0.25]]

    Reference: Hansen and Salamon, Neural Network Ensembles, 1990.
    """

    def __init__(self, activation: str = "softmax", logits: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_choice("activation", activation, ACTIVATIONS)
        self.activation = activation
        self.logits = logits
        self.supports_masking = True

    def build(self, inputs_shape):
        self.names = check_students("Ensemble", inputs_shape)

    def call(self, inputs, mask=None):
        x, present = stack_students("Ensemble", self.names, inputs, mask)
        if self.logits and self.activation == "softmax":
            return _log_mean(ops.log_softmax(x, axis=-1), present)
        if self.logits and self.activation == "sigmoid":
            return _log_mean(ops.log_sigmoid(x), present) - _log_mean(ops.log_sigmoid(-x), present)
        present = ops.cast(present, "float32")
        count = ops.sum(present, axis=0)
        mean = ops.sum(x * present, axis=0) / ops.maximum(count, 1.0)
        nothing = {"softmax": 1.0 / x.shape[-1], "sigmoid": 0.5, "linear": 0.0}
        return ops.where(count > 0, mean, ops.full_like(mean, nothing[self.activation]))

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs[sorted(inputs)[0]].shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "activation": self.activation, "logits": self.logits}


def _log_mean(logs, present):
    """The logarithm of the mean probability of those present, `(B, C)`; 0 where nobody is."""
    # Far below any log-probability, and still finite.
    low = ops.where(present, logs, ops.full_like(logs, -1e30))
    count = ops.sum(ops.cast(present, "float32"), axis=0)
    total = ops.logsumexp(low, axis=0) - ops.log(ops.maximum(count, 1.0))
    return ops.where(count > 0, total, ops.zeros_like(total))
