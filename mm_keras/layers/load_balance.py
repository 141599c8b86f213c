"""A penalty on gates that neglect a modality."""

import keras
from keras import ops

from mm_keras.layers.gate_loss import GateLoss


@keras.saving.register_keras_serializable("mm_keras")
class LoadBalance(GateLoss):
    """Adds a loss, in training, where gates neglect a modality throughout the batch.

    Gates that train from scratch tend to lock to the branch that learns first. The loss is
    `weight · M Σ_m (P_m − T_m)²`: P_m is the mean gate of modality m over the batch, T_m what it
    would be if each sample shared its gates evenly among the modalities that it has; samples
    without any don't count. Where all are present this is the squared coefficient of variation
    of the gates' sums. What comes in passes unchanged, and `mm.inference_model` removes the layer.

    Args:
        weight: Of the loss; 0 adds none.

    Call arguments:
        inputs: What `ModalityGate` returns: a dict with `"gates"`, `(B, M)`, and `"present"`,
            `(B, M)` bool; whatever else is in it passes too.

    Output shape:
        That of `inputs`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.LoadBalance(1.0)
    >>> gates = np.array([[1.0, 0.0], [1.0, 0.0]], "float32")
    >>> gated = layer({"gates": gates, "present": np.ones((2, 2), "bool")}, training=True)
    >>> float(layer.losses[0])
    1.0

    Reference: Shazeer et al., Outrageously Large Neural Networks: the Sparsely-Gated
    Mixture-of-Experts Layer, 2017.
    """

    def __init__(self, weight: float = 0.01, **kwargs):
        super().__init__(weight, **kwargs)

    def penalty(self, gates, present, counts, samples):
        target = ops.sum(present / ops.maximum(counts, 1.0), axis=0) / samples
        share = ops.sum(gates, axis=0) / samples
        return gates.shape[-1] * ops.sum(ops.square(share - target))
