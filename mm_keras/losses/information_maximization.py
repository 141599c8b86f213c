"""Predictions for the target that are sure each, and spread over the classes together."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number
from mm_keras.losses.domains import check_domains


def information_maximization(y_true, y_pred, target=1, balance=1.0):
    """`H(p) − balance · H(p̄)` of the target's samples, in a form whose mean over them is that.

    Args:
        y_true: Domain of each sample, `(B,)` or `(B, 1)`.
        y_pred: Probabilities `(B, C)`.
        target: Number of the target domain; samples of others give 0.
        balance: Weight of the entropy of the target's mean prediction p̄.

    Returns:
        `(B,)`, float32 also for float16 predictions: a sum over the target's samples, divided by
        their number and multiplied by B, so that the batch's mean is that over the target.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    p = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    chosen = ops.cast(ops.equal(check_domains(y_true, p), target), p.dtype)
    count = ops.maximum(ops.sum(chosen), 1.0)
    mean = ops.sum(chosen[:, None] * p, axis=0, keepdims=True) / count
    each = -ops.sum(p * _log(p), axis=-1)
    # Σ_i −p_i · log p̄ is the entropy of p̄, and so is its gradient.
    spread = -ops.sum(p * _log(mean), axis=-1)
    size = ops.cast(ops.shape(p)[0], p.dtype)
    return chosen * (each - balance * spread) * size / count


def _log(p):
    # Below this the gradient, log p + 1, has long made its point.
    return ops.log(ops.maximum(p, 1e-7))


@keras.saving.register_keras_serializable("mm_keras")
class InformationMaximization(keras.losses.Loss):
    """Makes the target's predictions sure, while keeping all classes in use.

    `mean H(p) − balance · H(mean p)` over the samples of the target domain in a batch. It needs no
    label: entropy alone falls to 0 when everything is of one class, which the second term, the
    entropy of the mean prediction, opposes; it takes the target's classes to be about as frequent
    as each other. Use it on a training output such as `"label_domain"` of
    `mm.build_afe(…, adapt_predictions=True)`, where the domain is the label.

    Args:
        target: Number of the target domain.
        balance: Weight of the second term; 0: entropy alone.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Example:

    >>> import mm_keras as mm
    >>> loss = mm.losses.InformationMaximization()
    >>> sure_and_even = [[1.0, 0.0], [0.0, 1.0]]
    >>> unsure = [[0.5, 0.5], [0.5, 0.5]]
    >>> round(float(loss([1, 1], sure_and_even)), 4), round(float(loss([1, 1], unsure)), 4)
    (-0.6931, 0.0)

    Reference: Liang et al., Do We Really Need to Access the Source Data? Source Hypothesis Transfer
    for Unsupervised Domain Adaptation, 2020.
    """

    def __init__(
        self,
        target: int = 1,
        balance: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str = "information_maximization",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_int("target", target, minimum=0)
        check_number("balance", balance)
        self.target = target
        self.balance = balance

    def call(self, y_true, y_pred):
        return information_maximization(y_true, y_pred, self.target, self.balance)

    def get_config(self):
        return {**super().get_config(), "target": self.target, "balance": self.balance}
