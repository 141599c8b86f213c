"""Labels of classes as distributions."""

from collections.abc import Mapping

import tensorflow as tf

from mm_keras.data.class_labels import each_head, softeners
from mm_keras.data.elements import check_batched, check_elements


def one_hot_labels(
    dataset: tf.data.Dataset, num_classes: int | Mapping[str, int]
) -> tf.data.Dataset:
    """Makes distributions `(B, C)` of class numbers, as `mm.data.mix` gives them.

    For what validates a model that is trained on mixed labels: Keras makes `"accuracy"` the metric
    of distributions, or that of class numbers, by the first labels that it sees, and reads the
    others wrongly. Labels that are distributions stay.

    Args:
        dataset: Batches of `({name: array}, labels[, sample_weight])`.
        num_classes: Number C of classes; `{head: number}` for a dict of labels, whose other heads
            stay as they are, but in float32.

    Returns:
        Batches of the same structure.

    Raises:
        ValueError: For labels that are no classes.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((2, 3))}, [1, 0])).batch(2)
    >>> next(iter(mm.data.one_hot_labels(data, 2)))[1].numpy().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    spec = check_elements(dataset)
    check_batched(spec)
    soften = softeners(spec[1], num_classes)

    def change(inputs, labels, *weights):
        return inputs, each_head(lambda part, soft: soft(part), labels, soften), *weights

    return dataset.map(change, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
