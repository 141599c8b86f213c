"""Focal loss for class numbers and for class distributions."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.losses.labels import as_distributions


def focal_crossentropy(y_true, y_pred, gamma=2.0, alpha=1.0, from_logits=False):
    """`−α Σ_c y_c (1 − p_c)^γ log p_c` of each sample.

    Args:
        y_true: Class numbers `(B,)` or `(B, 1)`, or distributions `(B, C)`.
        y_pred: Probabilities, or logits, `(B, C)`.
        gamma: γ: how much less a sample counts that is already right; 0: the plain
            cross-entropy, times α.
        alpha: α: a number, or one for each class.
        from_logits: Whether `y_pred` are logits.

    Returns:
        `(B,)`, float32 also for float16 predictions.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_pred = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    y_true = as_distributions(y_true, y_pred.shape[-1], y_pred.dtype)
    if isinstance(alpha, tuple | list):
        alpha = ops.convert_to_tensor(alpha, y_pred.dtype)
    return keras.losses.categorical_focal_crossentropy(
        y_true, y_pred, alpha=alpha, gamma=gamma, from_logits=from_logits
    )


@keras.saving.register_keras_serializable("mm_keras")
class FocalCrossentropy(keras.losses.Loss):
    """Focal loss that takes class numbers as well as distributions over classes.

    Keras has it for one-hot labels; this takes what `mm.losses.classification()` takes.

    Args:
        gamma: How much less a sample counts that is already right, at least 0.
        alpha: Factor: a number, or one for each class, e.g. from `mm.data.class_weights`.
        from_logits: Whether predictions are logits.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Example:

    >>> import mm_keras as mm
    >>> focal, plain = mm.losses.FocalCrossentropy(gamma=2.0), mm.losses.classification()
    >>> sure, unsure = [[0.9, 0.1]], [[0.6, 0.4]]
    >>> [round(float(focal([0], p) / plain([0], p)), 3) for p in (sure, unsure)]
    [0.01, 0.16]

    Reference: Lin et al., Focal Loss for Dense Object Detection, 2017.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha=1.0,
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "focal_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_number("gamma", gamma)
        self.gamma = gamma
        if hasattr(alpha, "__len__") and not isinstance(alpha, str):
            alpha = [float(value) for value in alpha]
        for value in alpha if isinstance(alpha, list) else [alpha]:
            check_number("alpha", value)
        self.alpha = alpha
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return focal_crossentropy(y_true, y_pred, self.gamma, self.alpha, self.from_logits)

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "alpha": self.alpha,
            "from_logits": self.from_logits,
        }
