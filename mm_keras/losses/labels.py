"""Labels of classes in either form."""

from keras import ops


def is_class_numbers(y_true, classes: int) -> bool:
    """Returns whether labels are class numbers `(B,)` or `(B, 1)`, not distributions `(B, C)`.

    Raises:
        ValueError: If they are neither.
    """
    shape = tuple(y_true.shape)
    numbers = len(shape) == 1 or (len(shape) == 2 and shape[-1] == 1 and classes > 1)
    if not numbers and (len(shape) != 2 or shape[-1] != classes):
        raise ValueError(
            f"`y_true` must be class numbers (B,) or (B, 1), or distributions (B, {classes}). "
            f"Received shape: {shape}."
        )
    return numbers


def as_distributions(y_true, classes: int, dtype):
    """Returns `(B, C)` of labels in either form."""
    y_true = ops.convert_to_tensor(y_true)
    if is_class_numbers(y_true, classes):
        return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=dtype)
    return ops.cast(y_true, dtype)
