"""A range of positions along the first axis of each sample."""

import keras

from mm_keras._checks import check_int


@keras.saving.register_keras_serializable("mm_keras")
class SliceAxis(keras.layers.Layer):
    """Takes `inputs[:, start:stop]`: one of several views, or some of a table's columns.

    Args:
        start: First position taken.
        stop: First position not taken.
        squeeze: Whether an axis of one position is removed.
    """

    def __init__(self, start: int, stop: int, squeeze: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_int("start", start, minimum=0)
        check_int("stop", stop, minimum=start + 1)
        if squeeze and stop != start + 1:
            raise ValueError(
                f"`squeeze` must be False unless stop = start + 1. Received: {start=}, {stop=}."
            )
        self.start = start
        self.stop = stop
        self.squeeze = squeeze

    def build(self, input_shape):
        if input_shape[1] is not None and input_shape[1] < self.stop:
            raise ValueError(
                f"`stop` must be at most {input_shape[1]}, the length of the axis. "
                f"Received: stop={self.stop}."
            )

    def call(self, inputs):
        return inputs[:, self.start] if self.squeeze else inputs[:, self.start : self.stop]

    def compute_output_spec(self, inputs):
        axis = () if self.squeeze else (self.stop - self.start,)
        return keras.KerasTensor((inputs.shape[0], *axis, *inputs.shape[2:]), dtype=inputs.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "start": self.start,
            "stop": self.stop,
            "squeeze": self.squeeze,
        }
