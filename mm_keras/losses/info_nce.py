"""Contrastive loss over a batch: each sample picks its partner out of all."""

import keras
from keras import ops

from mm_keras._checks import check_positive
from mm_keras.losses.pairs import LOWEST, both_directions, check_pairs, mean_over


def info_nce(y_true, y_pred, mask=None, temperature=0.07):
    """Cross-entropy of each sample's choice among all partners, the mean of both directions.

    `½ [CE(softmax(S_i / τ), P_i) + CE(softmax(Sᵀ_i / τ), Pᵀ_i)]`, with the positives of a row
    sharing it evenly.

    Args:
        y_true: `(B, B)`: 1 or true where row i of one modality and column j of the other belong
            together; the diagonal, and more where samples are alike.
        y_pred: Similarities `(B, B)`.
        mask: Optional, `(B, B)` bool: which pairs count at all, e.g. where both are present.
        temperature: τ.

    Returns:
        `(B,)`, float32; 0 for a sample without a positive. Where it has one in one direction only
        the value is that direction's.
    """
    positives, similarity, mask = check_pairs(y_true, y_pred, mask)
    values, counted = both_directions(_choice, positives, similarity / temperature, mask)
    return values / ops.maximum(counted, 1.0)


def _choice(positives, logits, mask):
    total = ops.logsumexp(ops.where(mask, logits, ops.full_like(logits, LOWEST)), axis=1)
    return mean_over(total[:, None] - logits, positives)


@keras.saving.register_keras_serializable("mm_keras")
class InfoNCE(keras.losses.Loss):
    """Contrastive loss of a similarity matrix, as of CLIP, with any number of positives a row.

    For graphs made by hand: labels are the matrix of positives, predictions that of similarities.
    Builders learn the temperature too: see `mm.layers.ContrastiveLearning`. On a matrix of equal
    similarities it is ln B.

    Args:
        temperature: τ, above 0.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Raises:
        ValueError: If `temperature` is not above 0, or a matrix is not square.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> round(float(mm.losses.InfoNCE()(np.eye(4), np.zeros((4, 4)))), 3)  # ln 4
    1.386

    Reference: van den Oord et al., Representation Learning with Contrastive Predictive Coding,
    2018; Radford et al., CLIP, 2021; Khosla et al., 2020 (several positives).
    """

    def __init__(
        self,
        temperature: float = 0.07,
        reduction: str = "sum_over_batch_size",
        name: str = "info_nce",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_positive("temperature", temperature)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        return info_nce(y_true, y_pred, temperature=self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
