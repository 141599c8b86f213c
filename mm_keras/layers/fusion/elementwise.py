"""Sum, mean and maximum over the modalities."""

import keras
from keras import ops

from mm_keras._checks import check_choice
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.sequence_pooling import SequencePooling

MODES = ("sum", "mean", "max")


@keras.saving.register_keras_serializable("mm_keras")
class ElementwiseFusion(Fusion):
    """Sums, averages or takes the maximum of the pooled features, element by element.

    All modalities have one width D. Mean and maximum are over the modalities that are present;
    a sample without any gives zeros.

    Args:
        mode: `"sum"`, `"mean"` or `"max"`.
        pooling: As in `Fusion`.

    Output shape:
        `(B, D)`.

    Reference: late fusion in Liang et al., MultiBench, 2021.
    """

    def __init__(self, mode: str = "mean", pooling: str = "mean", **kwargs):
        super().__init__(pooling, **kwargs)
        check_choice("mode", mode, MODES)
        self.mode = mode

    def build_pooled(self, widths):
        self.check_equal_widths(widths)
        if self.mode != "sum":  # the modalities are positions of a sequence: pool over them
            self.reduce = SequencePooling(self.mode, dtype=self.dtype_policy)

    def fuse(self, pooled, present):
        stacked = ops.stack([pooled[name] for name in self.names], axis=1)  # (B, M, D)
        if self.mode == "sum":
            return ops.sum(stacked, axis=1)
        return self.reduce(stacked, mask=self.presence_matrix(pooled, present))

    def compute_output_shape(self, features_shape, mask_shape=None):
        first = next(iter(features_shape.values()))
        return (first[0], first[-1])

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
