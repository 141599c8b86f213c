"""Weights that balance classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice
from mm_keras.data.class_labels import check_class_labels, class_distributions
from mm_keras.data.elements import check_elements, has_batches_of_labels, is_batched

Weights = Sequence[float] | np.ndarray


def class_weights(counts: Weights, *, beta: float = 0.999) -> np.ndarray:
    """Returns weights by the effective number of samples of each class.

    `w_c ∝ (1 − β) / (1 − β^n_c)`, scaled so that they sum to C. β = 0 weights all classes alike;
    the nearer to 1, the nearer to the inverse of the frequency, which β = 1 gives.

    Args:
        counts: Number of samples of each class, `(C,)`, e.g. from `mm.data.class_counts`.
        beta: In [0, 1].

    Returns:
        `(C,)` float64.

    Raises:
        ValueError: If a class has no samples, or for arguments out of range.

    Example:

    >>> import mm_keras as mm
    >>> mm.data.class_weights([100, 1], beta=1.0).round(3).tolist()
    [0.02, 1.98]

    Reference: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019.
    """
    counts = check_counts(counts)
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        raise ValueError(
            "`counts` must be above 0 for every class: a class without samples has no weight. "
            f"Received 0 for the classes: {empty.tolist()}."
        )
    beta = float(beta)
    if not 0.0 <= beta <= 1.0:
        raise ValueError(f"`beta` must be in [0, 1]. Received: beta={beta}.")
    if beta == 0.0:
        weights = np.ones_like(counts)
    elif beta == 1.0:
        weights = 1.0 / counts
    else:
        # 1 − β^n without the loss of digits that it has for β near 1.
        weights = (1.0 - beta) / -np.expm1(counts * np.log1p(beta - 1.0))
    return weights * len(weights) / weights.sum()


def check_counts(counts: Weights) -> np.ndarray:
    """Returns counts as float64 after a check that they are."""
    array = np.asarray(counts, "float64")
    if array.ndim != 1 or not array.size or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            f"`counts` must be numbers of at least 0, (C,). Received: counts={counts!r}."
        )
    return array


def add_class_weights(
    dataset: tf.data.Dataset, weights: Weights | Mapping[str, Weights]
) -> tf.data.Dataset:
    """Gives each sample the weight of its class, for each head: sample weights for `fit`.

    `fit(class_weight=…)` raises for a model with more than one output; this works for any number.
    A soft label has the mean of its classes' weights. Weights that samples have are multiplied.

    Args:
        dataset: `({name: array}, labels[, sample_weight])`, single samples or batches.
        weights: `(C,)`, e.g. from `mm.data.class_weights`; `{head: (C,)}` for a dict of labels.
            Heads that are not named keep the weights that they have, or 1.

    Returns:
        Elements `(inputs, labels, sample_weight)`, weights in the structure of the labels.

    Raises:
        ValueError: If a head has no labels, or labels are no classes of as many as there are
            weights.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> labels = {"digit": [0, 1, 1], "size": [0.1, 0.2, 0.3]}
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((3, 2))}, labels))
    >>> weighted = mm.data.add_class_weights(data, {"digit": [2.0, 0.5]}).batch(3)
    >>> {head: weight.numpy().tolist() for head, weight in next(iter(weighted))[2].items()}
    {'digit': [2.0, 0.5, 0.5], 'size': [1.0, 1.0, 1.0]}
    """
    spec = check_elements(dataset)
    several = isinstance(spec[1], Mapping)
    if several != isinstance(weights, Mapping):
        raise ValueError(
            "`weights` must be {head: weights} for a dict of labels, and an array for an array. "
            f"Received: weights={weights!r}, labels {spec[1]}."
        )
    heads = spec[1] if several else {"label": spec[1]}
    tables, batched = {}, is_batched(spec)
    for head, given in (weights if several else {"label": weights}).items():
        check_choice("weights", head, sorted(heads))
        tables[head] = check_counts(given).astype("float32")
        batched = has_batches_of_labels(spec, heads[head], len(tables[head]))
        check_class_labels(head, heads[head], len(tables[head]), batched)

    def weigh(inputs, labels, given=None):
        by_head = labels if several else {"label": labels}
        result = {}
        for head, part in by_head.items():
            old = given[head] if isinstance(given, Mapping) else given
            if old is None:
                old = tf.ones(tf.shape(part)[: int(batched)])
            result[head] = old
            if head in tables:
                classes = len(tables[head])
                shares = class_distributions(head, part, classes, batched)
                new = tf.reduce_sum(shares * tables[head], axis=-1)
                result[head] = tf.cast(old, tf.float32) * tf.reshape(new, tf.shape(old))
        return inputs, labels, result if several else result["label"]

    return dataset.map(weigh, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
