"""The preprocessing that a 2-D backbone was trained with."""

import keras
from keras import ops

from mm_keras._checks import check_choice


@keras.saving.register_keras_serializable("mm_keras")
class PixelPreprocessing(keras.layers.Layer):
    """Turns pixels 0–255 into what a backbone was trained with.

    The arithmetic is that of `keras.applications.imagenet_utils.preprocess_input`, in float32
    whatever the dtype policy, so that mixed precision does not blur the means.

    Args:
        mode: `"tf"` (−1…1), `"torch"` (0…1, then ImageNet mean and deviation), `"caffe"` (BGR,
            ImageNet mean subtracted) or `"none"`.
        replicate: Whether one channel is replicated to three.

    Call arguments:
        inputs: `(B, …, C)`, pixels 0–255.

    Output shape:
        `(B, …, C)`, or `(B, …, 3)` with `replicate`.
    """

    def __init__(self, mode: str = "none", replicate: bool = False, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        check_choice("mode", mode, ["tf", "torch", "caffe", "none"])
        self.mode = mode
        self.replicate = replicate

    def call(self, inputs):
        pixels = ops.cast(inputs, "float32")
        if self.replicate:
            pixels = ops.repeat(pixels, 3, axis=-1)
        if self.mode == "none":
            return pixels
        return keras.applications.imagenet_utils.preprocess_input(
            pixels, data_format="channels_last", mode=self.mode
        )

    def get_config(self):
        return {**super().get_config(), "mode": self.mode, "replicate": self.replicate}
