"""What the elements of a dataset are made of: `({name: …}, labels[, sample_weight])`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_keras._checks import PRESENT, check_choice

Elements = tf.data.Dataset


def check_elements(dataset: Elements, argument: str = "dataset") -> tuple:
    """Returns the specs `(inputs, labels[, sample_weight])` of a dataset's elements.

    Raises:
        TypeError: If `dataset` is no `tf.data.Dataset`.
        ValueError: If its elements have another structure.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`{argument}` must be a tf.data.Dataset. "
            f"Received: {dataset!r} of type {type(dataset).__name__}."
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[0], Mapping):
        raise ValueError(
            f"`{argument}` must give ({{name: array}}, labels) or ({{name: array}}, labels, "
            f"sample_weight). Received elements: {spec}."
        )
    return spec


def modalities_in(inputs: Mapping[str, Any]) -> list[str]:
    """Returns the names of the modalities among inputs, without their presence inputs, sorted."""
    return sorted(name for name in inputs if not name.endswith(PRESENT))


def check_modality_names(argument: str, names: Iterable[str], inputs: Mapping[str, Any]) -> None:
    """Raises unless each of `names` is a modality of the inputs."""
    for name in names:
        check_choice(argument, name, modalities_in(inputs))


def is_batched(spec: Any) -> bool | None:
    """Returns whether elements are batches; `None`: they may be single samples, or all of one size.

    Elements whose parts all have one leading axis of one known length, such as `(8, 4)` and `(8,)`,
    may be either.
    """
    shapes = [leaf.shape for leaf in keras.tree.flatten(spec)]
    if not all(shape.rank for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        return False
    return True if shapes[0][0] is None else None


def has_batches_of_labels(spec: tuple, labels: tf.TensorSpec, classes: int) -> bool:
    """Returns whether elements are batches, where their labels are of so many classes.

    Raises:
        ValueError: If there is no telling.
    """
    batched = is_batched(spec)
    if batched is None and tuple(labels.shape) in ((1,), (classes,)):
        raise ValueError(
            "`dataset` must give elements that tell single samples from batches: labels of shape "
            f"{tuple(labels.shape)} may be those of a batch, or a distribution over {classes} "
            "classes. Call .batch(…) without drop_remainder before."
        )
    return batched is not False


def check_batched(spec: Any, argument: str = "dataset") -> None:
    """Raises unless elements are batches."""
    if is_batched(spec) is False:
        raise ValueError(
            f"`{argument}` must give batches: call .batch(…) before. Received elements: {spec}."
        )


def check_single(spec: Any, argument: str = "dataset") -> None:
    """Raises if elements are batches, as far as their shapes tell."""
    if is_batched(spec):
        raise ValueError(
            f"`{argument}` must give single samples: call .batch(…) afterwards, or .unbatch() "
            f"before. Received elements: {spec}."
        )


def map_in_order(
    dataset: tf.data.Dataset, function: Callable, num_parallel_calls: int | None
) -> tf.data.Dataset:
    """Maps in parallel and keeps the order, also where the dataset's options don't."""
    if num_parallel_calls is None:
        return dataset.map(function)
    return dataset.map(function, num_parallel_calls=num_parallel_calls, deterministic=True)


def as_dtype(value: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns numbers as `dtype`; whole ones are rounded and kept within its range."""
    if dtype.is_integer and value.dtype.is_floating:
        value = tf.round(value)
    return tf.saturate_cast(value, dtype)


def expand(present: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns a presence input with axes of length 1 added, to be multiplied with `value`.

    Args:
        present: `(B, 1)`, `(B, V)`, or the same without B.
        value: `(B, …)` or `(…)`.
    """
    batch_axes = present.shape.rank - 1
    if present.shape[-1] == 1:
        shape = tf.concat(
            [tf.shape(present)[:batch_axes], [1] * (value.shape.rank - batch_axes)], axis=0
        )
    else:
        shape = tf.concat(
            [tf.shape(present), [1] * (value.shape.rank - present.shape.rank)], axis=0
        )
    return tf.reshape(present, shape)


def clear_absent(value: tf.Tensor, present: tf.Tensor | None) -> tf.Tensor:
    """Returns `value` with zeros where it is absent."""
    if present is None:
        return value
    present = expand(tf.cast(present, tf.bool), value)
    return tf.where(present, value, tf.zeros_like(value))


def head_of(labels: Any, head: str | None) -> Any:
    """Returns the labels of one head: those under its name, or the only ones that there are.

    Raises:
        ValueError: If labels are a dict of several heads and `head` names none of them, or if
            they are no dict and `head` is given.
    """
    if not isinstance(labels, Mapping):
        if head is not None:
            raise ValueError(
                f"`head` must be None for labels that are no dict. Received: head={head!r}."
            )
        return labels
    if head is None and len(labels) == 1:
        return next(iter(labels.values()))
    check_choice("head", head, sorted(labels))
    return labels[head]
