"""Streams with a given share of each class."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice, check_int
from mm_keras.data.class_counts import class_counts
from mm_keras.data.class_labels import check_class_labels, class_distributions
from mm_keras.data.class_weights import check_counts
from mm_keras.data.elements import check_elements, check_single, head_of
from mm_keras.data.seeds import fold, uniform, with_seeds

METHODS = ("oversample", "undersample", "reject")


def balance(
    dataset: tf.data.Dataset,
    num_classes: int,
    *,
    method: str = "oversample",
    target: str | Sequence[float] | np.ndarray = "uniform",
    counts: Sequence[float] | np.ndarray | None = None,
    head: str | None = None,
    seed: int | None = None,
    each_epoch: bool = True,
) -> tf.data.Dataset:
    """Repeats or leaves out samples so that classes come in given shares.

    - `"oversample"`: no sample is lost; those of rare classes are repeated, one copy after the
      other. Shuffle afterwards, and augment after that, so that the copies differ.
    - `"undersample"`: no sample is repeated; of frequent classes some are left out, others in each
      epoch.
    - `"reject"`: `tf.data`'s rejection resampling, for endless streams whose shares may be
      unknown: it learns them as it goes. Its draws are not tied to the sample.

    The dataset is read once, in order, and each pass has the same number of samples of each class
    (but with `"reject"`), which the dataset's cardinality tells `fit`.

    Args:
        dataset: Single samples `({name: array}, labels[, sample_weight])`.
        num_classes: Number C of classes.
        method: `"oversample"`, `"undersample"` or `"reject"`.
        target: Share of each class, `(C,)`, of any sum; `"uniform"`: all alike.
        counts: Number of samples of each class in `dataset`; `None`: counted, in one pass more
            (with `"reject"`: learnt).
        head: Name of the labels that count, where they are a dict of several.
        seed: Of all draws; `None`: another at each call.
        each_epoch: Whether each pass over the dataset has draws of its own.

    Returns:
        A dataset of the same elements.

    Raises:
        ValueError: If a class that `target` asks for has no samples, and for arguments that don't
            fit.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((5, 2))}, [0, 0, 0, 0, 1]))
    >>> balanced = mm.data.balance(data, 2, seed=0)
    >>> mm.data.class_counts(balanced, 2).tolist()
    [4.0, 4.0]
    """
    spec = check_elements(dataset)
    check_single(spec)
    check_int("num_classes", num_classes)
    check_choice("method", method, METHODS)
    name = head or "label"
    check_class_labels(name, head_of(spec[1], head), num_classes, batched=False)
    shares = _check_target(target, num_classes)
    given = counts
    if given is None and method != "reject":
        counts = class_counts(dataset, num_classes, head=head)
    if counts is not None:
        counts = check_counts(counts)
        if len(counts) != num_classes:
            raise ValueError(
                f"`counts` must have one number for each of {num_classes} classes. "
                f"Received: {len(counts)}."
            )
        lacking = np.flatnonzero((shares > 0) & (counts == 0))
        if lacking.size:
            raise ValueError(
                "`target` must ask for classes that have samples. Received a share above 0 for "
                f"the classes {lacking.tolist()}, which have none."
            )

    def class_of(element: tuple) -> tf.Tensor:
        labels = head_of(element[1], head)
        shares = class_distributions(name, labels, num_classes, batched=False)
        return tf.argmax(shares, axis=-1, output_type=tf.int32)

    if method == "reject":
        return _reject(dataset, class_of, shares, counts, seed)
    totals = _totals(method, shares, counts)

    def one_pass(key: tf.Tensor, _) -> tf.data.Dataset:
        def count_copies(state: tf.Tensor, element: tuple) -> tuple:
            kind = class_of(element)
            copies, state = _draw_copies(key, kind, state, totals, counts)
            return state, (copies, element)

        return dataset.scan(tf.zeros((num_classes, 2), tf.int64), count_copies)

    passes = with_seeds(tf.data.Dataset.range(1), seed, "balance", each_epoch).flat_map(one_pass)
    balanced = passes.flat_map(
        lambda copies, element: tf.data.Dataset.from_tensors(element).repeat(copies)
    )
    counted = given is None or dataset.cardinality() == int(counts.sum())
    return (
        balanced.apply(tf.data.experimental.assert_cardinality(int(totals.sum())))
        if counted
        else balanced
    )


def _totals(method: str, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns how many samples each class is to have."""
    ratios = np.divide(shares, counts, out=np.zeros(len(shares)), where=counts > 0)
    ratios /= ratios.max() if method == "undersample" else ratios[ratios > 0].min()
    return np.where(shares > 0, np.maximum(np.rint(counts * ratios), 1), 0).astype("int64")


def _draw_copies(key, kind, state, totals, counts) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how often a sample of class `kind` comes, and the next state.

    All samples of a class come the same number of times, and some of them once more: a set drawn
    evenly from all sets of the size that makes up the total (selection sampling). The state counts,
    for each class, the samples so far and those of them that came once more.
    """
    count = tf.gather(tf.constant(np.maximum(counts, 1).astype("int64")), kind)
    total = tf.gather(tf.constant(totals), kind)
    seen, more = state[kind, 0] % count, state[kind, 1]
    more = tf.where(seen == 0, tf.zeros_like(more), more)
    draw = tf.cast(uniform(fold(key, kind, state[kind, 0])), tf.float64)
    left = tf.cast(count - seen, tf.float64)
    extra = tf.cast(draw * left < tf.cast(total % count - more, tf.float64), tf.int64)
    row = tf.stack([state[kind, 0] + 1, more + extra])
    return total // count + extra, tf.tensor_scatter_nd_update(state, [[kind]], [row])


def _check_target(target: str | Sequence[float] | np.ndarray, num_classes: int) -> np.ndarray:
    """Returns shares that sum to 1."""
    if isinstance(target, str):
        check_choice("target", target, ["uniform"])
        return np.full(num_classes, 1 / num_classes)
    shares = np.asarray(target, "float64")
    right = shares.shape == (num_classes,) and np.isfinite(shares).all() and (shares >= 0).all()
    if not right or not shares.sum():
        raise ValueError(
            f"`target` must be 'uniform', or a share of at least 0 for each of {num_classes} "
            f"classes, not all of them 0. Received: target={target!r}."
        )
    return shares / shares.sum()


def _reject(dataset, class_of, shares, counts, seed) -> tf.data.Dataset:
    resampled = dataset.rejection_resample(
        lambda *element: class_of(element),
        target_dist=shares.astype("float32"),
        initial_dist=None if counts is None else (counts / counts.sum()).astype("float32"),
        seed=seed,
    )
    return resampled.map(lambda _, element: element)
