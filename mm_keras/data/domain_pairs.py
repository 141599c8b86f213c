"""Batches of two domains side by side."""

import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.data.domains import check_alike, check_is_dataset, count_steps


def domain_pairs(
    source: tf.data.Dataset, target: tf.data.Dataset, batch_size: int = 64
) -> tf.data.Dataset:
    """Makes what `fit` needs to train a `mm.build_adda` model: inputs of both domains side by side.

    Elements are `{"<input>": target's, "<input>_source": source's}`; labels, where there are any,
    are dropped. The smaller domain starts anew until the larger has been seen once.

    Args:
        source: Single samples: `inputs`, or `(inputs, labels, …)`.
        target: As `source`, with inputs of the same names, shapes and types.
        batch_size: Samples of each domain.

    Returns:
        A dataset of batches.

    Raises:
        ValueError: If a dataset is empty or of unknown size, or the inputs differ.
        TypeError: If something is no dataset.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> photos = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((6, 4))}, [0, 1, 2, 0, 1, 2]))
    >>> sketches = tf.data.Dataset.from_tensor_slices({"a": np.ones((4, 4))})
    >>> pairs = mm.data.domain_pairs(photos, sketches, batch_size=2)
    >>> sorted(pairs.element_spec), len(pairs)
    (['a', 'a_source'], 3)

    Reference: Tzeng et al., Adversarial Discriminative Domain Adaptation, 2017.
    """
    parts = []
    for argument, dataset in (("source", source), ("target", target)):
        check_is_dataset(argument, dataset)
        parts.append(dataset.map(_inputs_of, num_parallel_calls=tf.data.AUTOTUNE))
    check_int("batch_size", batch_size)
    check_alike([(part.element_spec,) for part in parts])
    steps = count_steps(parts, batch_size, None)
    batches = [part.repeat().batch(batch_size, drop_remainder=True) for part in parts]

    def join(source, target):
        return {**target, **{f"{key}_source": value for key, value in source.items()}}

    pairs = tf.data.Dataset.zip(tuple(batches)).take(steps)
    return pairs.map(join, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _inputs_of(*element):
    return element[0]
