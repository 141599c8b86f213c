"""Cross-entropy for class numbers and for class distributions."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.losses.labels import as_distributions, is_class_numbers


def classification_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0):
    """Cross-entropy of each sample.

    Args:
        y_true: Class numbers `(B,)` or `(B, 1)`, or distributions `(B, C)` (one-hot, or mixed by
            MixUp).
        y_pred: Probabilities, or logits, `(B, C)`.
        from_logits: Whether `y_pred` are logits.
        label_smoothing: Share of the label that is spread evenly over all classes, in [0, 1).

    Returns:
        `(B,)`, float32 also for float16 predictions.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    # The gradient of log at the smallest probability overflows in float16.
    y_pred = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    classes = y_pred.shape[-1]
    y_true = ops.convert_to_tensor(y_true)
    if is_class_numbers(y_true, classes) and not label_smoothing:
        y_true = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits)
    y_true = as_distributions(y_true, classes, y_pred.dtype)
    return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits, label_smoothing)


@keras.saving.register_keras_serializable("mm_keras")
class ClassificationCrossentropy(keras.losses.Loss):
    """Cross-entropy that takes class numbers as well as distributions over classes.

    Args:
        from_logits: Whether predictions are logits.
        label_smoothing: Share of the label that is spread evenly over all classes, in [0, 1).
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Example:

    >>> import mm_keras as mm
    >>> loss = mm.losses.classification()
    >>> y_pred = [[0.5, 0.5], [0.5, 0.5]]
    >>> round(float(loss([0, 1], y_pred)), 4), round(float(loss([[1, 0], [0, 1]], y_pred)), 4)
    (0.6931, 0.6931)

    Reference: Szegedy et al., Rethinking the Inception Architecture, 2016 (label smoothing).
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str = "classification_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_number("label_smoothing", label_smoothing, below=1.0)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        return classification_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def get_config(self):
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }


def classification(
    from_logits: bool = False, label_smoothing: float = 0.0
) -> ClassificationCrossentropy:
    """Returns the loss of a classification head: cross-entropy for labels of either form."""
    return ClassificationCrossentropy(from_logits, label_smoothing)
