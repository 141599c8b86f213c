"""What losses on gates have in common."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.training_only import TrainingOnly


class GateLoss(TrainingOnly, keras.layers.Layer):
    """Takes what `ModalityGate` returns, adds a loss on it in training, and passes it on.

    A subclass defines `penalty`.

    Args:
        weight: Of the loss; 0 adds none.

    Call arguments:
        inputs: What `ModalityGate` returns: a dict with `"gates"`, `(B, M)`, and `"present"`,
            `(B, M)` bool; whatever else is in it passes too.

    Output shape:
        That of `inputs`.
    """

    def __init__(self, weight: float, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_number("weight", weight)
        self.weight = weight

    def call(self, inputs, training=False):
        if training and self.weight:
            gates = ops.cast(inputs["gates"], "float32")
            present = ops.cast(inputs["present"], "float32")
            counts = ops.sum(present, axis=-1, keepdims=True)
            samples = ops.maximum(ops.sum(ops.cast(counts > 0, "float32")), 1.0)
            self.add_loss(self.weight * self.penalty(gates, present, counts, samples))
        return inputs

    def penalty(self, gates, present, counts, samples):
        """Returns the loss of a batch, a scalar.

        Args:
            gates: `(B, M)` float32.
            present: `(B, M)` float32, 1 where the modality is there.
            counts: `(B, 1)`, how many modalities a sample has.
            samples: How many samples have any, at least 1.
        """
        raise NotImplementedError

    def compute_output_spec(self, inputs, training=False):
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
