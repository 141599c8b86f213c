"""Margin loss over triplets: a sample, its positive, a negative."""

import keras
from keras import ops

from mm_keras._checks import check_choice, check_number
from mm_keras.losses.pairs import LOWEST, both_directions, check_pairs, mean_over

MININGS = ("semi_hard", "all")


def triplet(y_true, y_pred, mask=None, margin=0.2, mining="semi_hard"):
    """`[m + s_in − s_ip]₊`, the mean over the positives of a sample and over both directions.

    It takes memory for B³ numbers.

    Args:
        y_true: `(B, B)`: 1 or true where row i of one modality and column j of the other belong
            together; the diagonal, and more where samples are alike.
        y_pred: Similarities `(B, B)`.
        mask: Optional, `(B, B)` bool: which pairs count at all, e.g. where both are present.
        margin: m.
        mining: `"semi_hard"`: the negative n is the most similar of those that are less similar
            than the positive, or the least similar where there is none; `"all"`: the mean over
            all negatives.

    Returns:
        `(B,)`, float32; 0 for a sample without a positive or without a negative. Where it has a
        positive in one direction only the value is that direction's.
    """
    positives, similarity, mask = check_pairs(y_true, y_pred, mask)

    def one_direction(positives, similarity, mask):
        negatives = ops.logical_and(mask, ops.logical_not(positives))
        if mining == "all":
            hinges = ops.relu(margin + similarity[:, None] - similarity[:, :, None])  # (B, P, N)
            return mean_over(mean_over(hinges, negatives[:, None]), positives)
        below = ops.logical_and(negatives[:, None], similarity[:, None] < similarity[:, :, None])
        candidates = ops.where(below, similarity[:, None], ops.full_like(similarity, LOWEST))
        lowest = -ops.max(ops.where(negatives, -similarity, ops.full_like(similarity, LOWEST)), 1)
        chosen = ops.where(ops.any(below, -1), ops.max(candidates, -1), lowest[:, None])
        hinges = ops.relu(margin + chosen - similarity)
        kept = ops.logical_and(positives, ops.any(negatives, axis=1, keepdims=True))
        return mean_over(ops.where(kept, hinges, ops.zeros_like(hinges)), positives)

    values, counted = both_directions(one_direction, positives, similarity, mask)
    return values / ops.maximum(counted, 1.0)


@keras.saving.register_keras_serializable("mm_keras")
class Triplet(keras.losses.Loss):
    """Triplet loss of a similarity matrix, with semi-hard negatives or all of them.

    Semi-hard negatives lie below the positive: they collapse less easily than the hardest ones of
    `mm.losses.VSE`.

    Args:
        margin: m, at least 0.
        mining: `"semi_hard"` or `"all"`.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Raises:
        ValueError: If an argument is out of range, or a matrix is not square.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> round(float(mm.losses.Triplet(0.2)(np.eye(3), np.eye(3) - 0.9)), 3)
    0.0

    Reference: Schroff et al., FaceNet, 2015.
    """

    def __init__(
        self,
        margin: float = 0.2,
        mining: str = "semi_hard",
        reduction: str = "sum_over_batch_size",
        name: str = "triplet",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_number("margin", margin)
        check_choice("mining", mining, MININGS)
        self.margin = margin
        self.mining = mining

    def call(self, y_true, y_pred):
        return triplet(y_true, y_pred, margin=self.margin, mining=self.mining)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "mining": self.mining}
