"""Probabilities made milder or bolder, in the order they have."""

import keras
from keras import ops

from mm_keras._checks import check_bool, check_positive


@keras.saving.register_keras_serializable("mm_keras")
class TemperatureScaling(keras.layers.Layer):
    """Divides the logits behind probabilities by a temperature: `softmax(ln p / T)`.

    The most probable class stays the most probable. `mm.evaluate.calibrate` finds the temperature
    and puts the layer into a model; it exports like any other.

    Args:
        temperature: T, above 0; above 1 probabilities get milder. No trainable weight: it is
            found on data that the model was not trained on.
        independent: Whether each number is a probability by itself, of a sigmoid, and not one of a
            softmax over the last axis.

    Input shape:
        `(B, C)` probabilities; absent modalities are no matter here.

    Output shape:
        `(B, C)`, float32.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> mild = mm.layers.TemperatureScaling(2.0)(np.array([[0.8, 0.2]]))
    >>> [round(float(p), 3) for p in mild[0]]
    [0.667, 0.333]

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """

    def __init__(self, temperature: float = 1.0, independent: bool = False, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_positive("temperature", temperature)
        check_bool("independent", independent)
        self.temperature = temperature
        self.independent = independent

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        if not self.independent:
            return ops.softmax(_log(x) / self.temperature)
        return ops.sigmoid((_log(x) - _log(1.0 - x)) / self.temperature)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "independent": self.independent,
        }


def _log(x):
    return ops.log(ops.maximum(x, 1e-30))  # a probability that is 0 in float32
