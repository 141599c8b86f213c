"""Margin loss of a similarity matrix: all negatives, or the hardest one."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.losses.pairs import LOWEST, both_directions, check_pairs, mean_over


def vse(y_true, y_pred, mask=None, margin=0.2, hardness=1.0):
    """Hinge of a sample's negatives against its positive, in both directions, added.

    `h max_n [m + s_in − s_ip]₊ + (1 − h) Σ_n [m + s_in − s_ip]₊`, the mean over positives p of the
    row, and likewise for the column.

    Args:
        y_true: `(B, B)`: 1 or true where row i of one modality and column j of the other belong
            together; the diagonal, and more where samples are alike.
        y_pred: Similarities `(B, B)`.
        mask: Optional, `(B, B)` bool: which pairs count at all, e.g. where both are present.
        margin: m.
        hardness: h: 1 for the hardest negative, 0 for the sum. Below 1, or as a tensor, it takes
            memory for B³ numbers.

    Returns:
        `(B,)`, float32; 0 for a sample without a positive or without a negative.
    """
    positives, similarity, mask = check_pairs(y_true, y_pred, mask)

    def one_direction(positives, similarity, mask):
        negatives = ops.logical_and(mask, ops.logical_not(positives))
        hardest = ops.max(
            ops.where(negatives, similarity, ops.full_like(similarity, LOWEST)), axis=1
        )
        hard = mean_over(ops.relu(margin + hardest[:, None] - similarity), positives)
        if isinstance(hardness, int | float) and hardness == 1:
            return hard
        hinges = ops.relu(margin + similarity[:, None] - similarity[:, :, None])  # (B, P, N)
        summed = ops.sum(hinges * ops.cast(negatives, "float32")[:, None], axis=-1)
        return hardness * hard + (1.0 - hardness) * mean_over(summed, positives)

    return both_directions(one_direction, positives, similarity, mask)[0]


@keras.saving.register_keras_serializable("mm_keras")
class VSE(keras.losses.Loss):
    """Margin loss of visual-semantic embeddings: VSE++ with the hardest negative, VSE with the sum.

    Hardest negatives from the first step on may collapse all embeddings to one point, where the
    loss is twice the margin: start with the sum. In a builder's model
    `mm.training.HardNegativeWarmUp` does that.

    Args:
        margin: m, at least 0.
        hardness: From 0, the sum over all negatives, to 1, the hardest alone.
        reduction: As in `keras.losses.Loss`; the paper's is `"sum"`.
        name: Of the loss.

    Raises:
        ValueError: If an argument is out of range, or a matrix is not square.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> collapsed = np.ones((5, 5))
    >>> round(float(mm.losses.VSE(0.2)(np.eye(5), collapsed)), 3)
    0.4

    Reference: Faghri et al., VSE++, 2018; Kiros et al., 2014 (the sum).
    """

    def __init__(
        self,
        margin: float = 0.2,
        hardness: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "vse",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_number("margin", margin)
        check_hardness(hardness)
        self.margin = margin
        self.hardness = hardness

    def call(self, y_true, y_pred):
        return vse(y_true, y_pred, margin=self.margin, hardness=self.hardness)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "hardness": self.hardness}


def check_hardness(hardness: float) -> None:
    """Raises unless `hardness` is in [0, 1]."""
    check_number("hardness", hardness)
    if hardness > 1:
        raise ValueError(f"`hardness` must be in [0, 1]. Received: hardness={hardness}.")
