"""Cross-entropy adjusted for the frequencies of the classes."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.losses.classification import classification_crossentropy


def logit_adjusted_crossentropy(y_true, y_pred, priors, tau=1.0, from_logits=False):
    """Cross-entropy of `softmax(f + τ log π)`, f the logits and π the classes' shares.

    Args:
        y_true: Class numbers `(B,)` or `(B, 1)`, or distributions `(B, C)`.
        y_pred: Probabilities, or logits, `(B, C)`.
        priors: Number, or share, of the training samples of each class, above 0, `(C,)`.
        tau: Strength; 0: the plain cross-entropy.
        from_logits: Whether `y_pred` are logits.

    Returns:
        `(B,)`, float32 also for float16 predictions.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_pred = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    if len(priors) != y_pred.shape[-1]:
        raise ValueError(
            f"`priors` must have one number for each of {y_pred.shape[-1]} classes. "
            f"Received: {len(priors)}."
        )
    if not from_logits:
        y_pred = ops.log(ops.maximum(y_pred, keras.config.epsilon()))
    total = math.fsum(priors)
    shift = [tau * math.log(prior / total) for prior in priors]
    adjusted = y_pred + ops.convert_to_tensor(shift, y_pred.dtype)
    return classification_crossentropy(y_true, adjusted, from_logits=True)


@keras.saving.register_keras_serializable("mm_keras")
class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy that makes the plain prediction the best one for balanced accuracy.

    In training the logits are shifted by τ · log of the classes' shares, so rare classes need a
    larger margin. Predictions are used as they are.

    Args:
        priors: Number, or share, of the training samples of each class, above 0, e.g. from
            `mm.data.class_counts`.
        tau: Strength, at least 0; 1 is the paper's, 0 the plain cross-entropy.
        from_logits: Whether predictions are logits.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Example:

    >>> import mm_keras as mm
    >>> loss = mm.losses.LogitAdjustedCrossentropy(priors=[90, 10])
    >>> [round(float(loss([label], [[0.5, 0.5]])), 3) for label in (0, 1)]
    [0.105, 2.303]

    Reference: Menon et al., Long-tail learning via logit adjustment, 2021.
    """

    def __init__(
        self,
        priors: Sequence[float],
        tau: float = 1.0,
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "logit_adjusted_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.priors = [float(prior) for prior in priors]
        if not self.priors or not all(0 < prior < math.inf for prior in self.priors):
            raise ValueError(
                "`priors` must be a number above 0 for each class: a class without training "
                f"samples has no prior. Received: priors={self.priors}."
            )
        check_number("tau", tau)
        self.tau = tau
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return logit_adjusted_crossentropy(y_true, y_pred, self.priors, self.tau, self.from_logits)

    def get_config(self):
        return {
            **super().get_config(),
            "priors": self.priors,
            "tau": self.tau,
            "from_logits": self.from_logits,
        }
