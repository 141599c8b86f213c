"""How many samples each class has."""

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.data.class_labels import check_class_labels, class_distributions
from mm_keras.data.elements import check_elements, has_batches_of_labels, head_of


def class_counts(
    dataset: tf.data.Dataset, num_classes: int, *, head: str | None = None
) -> np.ndarray:
    """Counts the samples of each class, in one pass over the dataset.

    Args:
        dataset: `({name: array}, labels[, sample_weight])`, single samples or batches, finite.
        num_classes: Number C of classes.
        head: Name of the labels to count, where they are a dict of several.

    Returns:
        `(C,)` float64; of soft labels, their sums.

    Raises:
        ValueError: If the dataset never ends, or labels are no classes.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((4, 2))}, [0, 2, 2, 1]))
    >>> mm.data.class_counts(data, 3).tolist()
    [1.0, 1.0, 2.0]
    """
    spec = check_elements(dataset)
    check_int("num_classes", num_classes)
    name, labels = head or "label", head_of(spec[1], head)
    batched = has_batches_of_labels(spec, labels, num_classes)
    check_class_labels(name, labels, num_classes, batched)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must end, to be counted: count before .repeat(). Received: one that "
            "repeats for ever."
        )

    def add(total, labels):
        shares = class_distributions(name, labels, num_classes, batched)
        return total + tf.cast(tf.reduce_sum(tf.reshape(shares, (-1, num_classes)), 0), tf.float64)

    labels_alone = dataset.map(lambda *element: head_of(element[1], head))
    try:
        return labels_alone.reduce(tf.zeros(num_classes, tf.float64), add).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"labels of {name!r} must be whole numbers in 0…{num_classes - 1}. "
            f"Received others: {error.message}"
        ) from error
