"""Labels of classes in any of their forms, as distributions."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mm_keras._checks import check_choice, check_int


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


def each_head(function: Callable, part: Any, *others: Any) -> Any:
    """Applies a function to labels, or to those of each head."""
    if not isinstance(part, Mapping):
        return function(part, *others)
    return {head: function(part[head], *(other[head] for other in others)) for head in part}


def softeners(labels: Any, num_classes: Any) -> Any:
    """Returns what makes float32 distributions of labels, for each head where there are several."""
    if isinstance(labels, Mapping):
        if not isinstance(num_classes, Mapping):
            if num_classes is not None and len(labels) > 1:
                raise ValueError(
                    "`num_classes` must be {head: number} for labels of several heads, "
                    f"{sorted(labels)}. Received: num_classes={num_classes!r}."
                )
            num_classes = dict.fromkeys(labels, num_classes)
        for head in num_classes:
            check_choice("num_classes", head, sorted(labels))
        return {h: _softener(h, part, num_classes.get(h)) for h, part in labels.items()}
    if isinstance(num_classes, Mapping):
        raise ValueError(
            "`num_classes` must be a number, or None, for labels that are no dict. "
            f"Received: num_classes={num_classes!r}."
        )
    return _softener("label", labels, num_classes)


def _softener(head: str, labels: tf.TensorSpec, classes: int | None) -> Callable:
    if classes is None:
        if labels.dtype.is_integer and labels.shape.rank == 1:
            raise ValueError(
                f"`num_classes` must say how many classes {head!r} has, since its labels are whole "
                "numbers, which are no distributions. Received: None."
            )
        return lambda part: tf.cast(part, tf.float32)
    check_int("num_classes", classes)
    check_class_labels(head, labels, classes, batched=True)
    return lambda part: class_distributions(head, part, classes, batched=True)
