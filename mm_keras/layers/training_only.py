"""The mark of layers that act in training only."""

import keras


class TrainingOnly:
    """A mixin: at inference the layer returns its first argument as it is.

    `mm.inference_model` takes such layers out of the graph, and `TrainingOutput` with the output
    it marks. A layer that bears the mark must be the identity when `training` is false.
    """


@keras.saving.register_keras_serializable("mm_keras")
class TrainingOutput(TrainingOnly, keras.layers.Layer):
    """Marks an output that serves training only, such as an auxiliary head.

    It returns what it is given. Its name is the output's key: by that, `mm.inference_model` finds
    the outputs to drop.

    Call arguments:
        inputs: Any tensor.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)  # heads stay in float32
        self.supports_masking = True

    def call(self, inputs):
        return inputs

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
