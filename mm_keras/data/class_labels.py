"""Labels of classes in any of their forms, as distributions."""

import tensorflow as tf


def check_class_labels(
    name: str, labels: tf.TensorSpec | tf.Tensor, classes: int, batched: bool
) -> bool:
    """Returns whether labels are class numbers, rather than distributions over `classes`.

    Raises:
        ValueError: If they are neither, by their shape.
    """
    shape, axes = labels.shape, int(batched)
    if shape.rank == axes + 1 and shape[-1] == classes:
        return classes == 1
    if shape.rank == axes or (shape.rank == axes + 1 and shape[-1] == 1):
        return True
    forms = f"(B,) or (B, 1), or distributions (B, {classes})"
    if not batched:
        forms = f"() or (1,), or distributions ({classes},)"
    raise ValueError(
        f"labels of {name!r} must be class numbers {forms}. Received shape: {tuple(shape)}."
    )


def class_distributions(name: str, labels: tf.Tensor, classes: int, batched: bool) -> tf.Tensor:
    """Returns `(B, C)` float32, or `(C,)` of a single sample, of labels in either form.

    A class number out of range stops the stream with an error.
    """
    if not check_class_labels(name, labels, classes, batched):
        return tf.cast(labels, tf.float32)
    numbers = tf.cast(tf.reshape(labels, (-1,) if batched else ()), tf.int32)
    tf.debugging.Assert(
        tf.reduce_all((numbers >= 0) & (numbers < classes)),
        [f"labels of {name!r} must be whole numbers in 0…{classes - 1}. Received:", numbers],
    )
    return tf.one_hot(numbers, classes)
