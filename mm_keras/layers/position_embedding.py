"""Learnt positions."""

import keras


@keras.saving.register_keras_serializable("mm_keras")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learnt vector to each position: `(B, N, D)` → `(B, N, D)`, N fixed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.position = self.add_weight(
            shape=tuple(input_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="position",
        )

    def call(self, inputs):
        return inputs + self.position

    def compute_output_shape(self, input_shape):
        return input_shape
