"""A layer that neither Keras nor the package has, for files that need this module."""

import keras


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    """Twice the input."""

    def call(self, inputs):
        return 2 * inputs

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
