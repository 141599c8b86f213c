"""Contrastive loss of single pairs: does this one belong together?"""

import math

import keras
from keras import ops

from mm_keras._checks import check_number, check_positive
from mm_keras.losses.pairs import check_pairs


def siglip(y_true, y_pred, mask=None, temperature=0.1, bias=-10.0):
    """Binary cross-entropy of every pair, summed over a sample's row and column, halved.

    `½ [Σ_j −log σ(z_ij l_ij) + Σ_j −log σ(z_ji l_ji)]` with `l = s / τ + b` and z of 1 for
    positives and −1 for others; its sum over samples is that over all pairs.

    Args:
        y_true: `(B, B)`: 1 or true where row i of one modality and column j of the other belong
            together; the diagonal, and more where samples are alike.
        y_pred: Similarities `(B, B)`.
        mask: Optional, `(B, B)` bool: which pairs count at all, e.g. where both are present.
        temperature: τ.
        bias: b, which makes up for the many negatives at the start.

    Returns:
        `(B,)`, float32.
    """
    positives, similarity, mask = check_pairs(y_true, y_pred, mask)
    logits = similarity / temperature + bias
    losses = ops.softplus(ops.where(positives, -logits, logits))
    losses = ops.where(mask, losses, ops.zeros_like(losses))
    return 0.5 * (ops.sum(losses, axis=1) + ops.sum(losses, axis=0))


@keras.saving.register_keras_serializable("mm_keras")
class SigLIP(keras.losses.Loss):
    """Sigmoid loss of a similarity matrix: every pair is a binary decision of its own.

    It needs no normalisation over the batch, so that small batches do; any pair may be positive.

    Args:
        temperature: τ, above 0.
        bias: Added to the logits.
        reduction: As in `keras.losses.Loss`; the default gives −1/B Σ log σ.
        name: Of the loss.

    Raises:
        ValueError: If `temperature` is not above 0, `bias` is infinite, or a matrix is not square.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> round(float(mm.losses.SigLIP(bias=0.0)(np.eye(4), np.zeros((4, 4)))), 3)  # 4 ln 2
    2.773

    Reference: Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        reduction: str = "sum_over_batch_size",
        name: str = "siglip",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_positive("temperature", temperature)
        check_number("bias", bias, minimum=-math.inf)
        if math.isinf(bias):
            raise ValueError(f"`bias` must be finite. Received: bias={bias}.")
        self.temperature = temperature
        self.bias = bias

    def call(self, y_true, y_pred):
        return siglip(y_true, y_pred, temperature=self.temperature, bias=self.bias)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "bias": self.bias}
