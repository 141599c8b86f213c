"""The loss of a head that says whether a pair belongs together."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.training_only import TrainingOnly


@keras.saving.register_keras_serializable("mm_keras")
class MatchLoss(TrainingOnly, keras.layers.Layer):
    """Adds, in training, the binary cross-entropy of right pairs and hard negatives.

    It follows `mm.layers.HardNegatives` and the head on its pairs: the first third of the batch
    are right ones. It returns that third. At inference it returns what it is given, and
    `mm.inference_model` removes it.

    Args:
        weight: Of the loss.

    Call arguments:
        inputs: `(3B, 1)`: the head's logits.
        kept: `(3B, 1)` bool: which pairs count, the last part of what `HardNegatives` returns.

    Output shape:
        `(B, 1)`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.MatchLoss()
    >>> outputs = layer(np.zeros((6, 1)), np.ones((6, 1), "bool"), training=True)
    >>> tuple(outputs.shape), round(float(layer.losses[0]), 3)  # ln 2
    ((2, 1), 0.693)

    Reference: Li et al., Align before Fuse, 2021.
    """

    def __init__(self, weight: float = 1.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_number("weight", weight)
        self.weight = weight

    def call(self, inputs, kept, training=False):
        if not training:
            return inputs
        size = ops.shape(inputs)[0] // 3
        logits = ops.cast(inputs, "float32")
        losses = ops.concatenate([ops.softplus(-logits[:size]), ops.softplus(logits[size:])])
        kept = ops.cast(kept, "bool")
        losses = ops.where(kept, losses, ops.zeros_like(losses))
        count = ops.maximum(ops.sum(ops.cast(kept, "float32")), 1.0)
        self.add_loss(self.weight * ops.sum(losses) / count)
        return inputs[:size]

    def compute_output_spec(self, inputs, kept, training=False):
        return keras.KerasTensor((None, *inputs.shape[1:]), dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
