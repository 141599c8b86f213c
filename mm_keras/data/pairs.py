"""Matching and non-matching pairs for models that tell whether modalities belong together."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from mm_keras._checks import PRESENT, check_bool, check_number
from mm_keras.data.elements import (
    check_batched,
    check_elements,
    check_modality_names,
    head_of,
    map_in_order,
    modalities_in,
)
from mm_keras.data.seeds import fold, uniform, with_seeds

Hardness = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


def pairs(
    dataset: tf.data.Dataset,
    exchange: str | Sequence[str],
    *,
    negatives: float = 1.0,
    same_label: bool = False,
    head: str | None = None,
    hardness: Hardness | None = None,
    seed: int | None = None,
    each_epoch: bool = True,
    num_parallel_calls: int | None = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Adds to each batch pairs that don't match: one modality from another sample of the batch.

    Every sample is a positive pair (label 1). Each negative (label 0) is one of them with the
    modality `exchange` of another sample. Negatives are spread evenly over the samples, and no
    pair comes twice. Where a batch has too few samples that don't match, there are fewer
    negatives.

    Args:
        dataset: Batches of matching `({name: array}, labels[, sample_weight])`.
        exchange: Name of the modality, or of several that are exchanged together, with their
            presence. Samples that lack all of them are no partners.
        negatives: Negative pairs for each positive one, e.g. 3.0 or 0.5.
        same_label: Whether samples with the same label match too, and are no negatives of each
            other.
        head: Name of the labels that decide about that, where they are a dict of several.
        hardness: A function of a batch's inputs to scores `(B, B)`: how well what stays of sample
            i seems to match what is exchanged of sample j. Negatives then are those with the
            highest scores. With a function that calls a Keras model (on the TensorFlow backend),
            the scores follow the model's weights as it trains. `None`: negatives are drawn evenly.
        seed: Of all draws; `None`: another at each call.
        each_epoch: Whether each pass over the dataset has draws of its own.
        num_parallel_calls: As in `tf.data.Dataset.map`.

    Returns:
        Batches of `(1 + negatives) · B` pairs in random order, with labels `(n,)` int32, 1 for
        matching pairs; sample weights are those of the sample that keeps its other modalities.

    Raises:
        ValueError: For arguments that don't fit.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> x = {"image": np.arange(8.0)[:, None], "text": np.arange(8)[:, None]}
    >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(8))).batch(8)
    >>> inputs, match = next(iter(mm.data.pairs(data, "text", negatives=2, seed=0)))
    >>> int(tf.reduce_sum(match)), match.shape[0]
    (8, 24)

    Reference: Faghri et al., VSE++, 2018 (hard negatives).
    """
    spec = check_elements(dataset)
    check_batched(spec)
    names = (exchange,) if isinstance(exchange, str) else tuple(exchange)
    check_modality_names("exchange", names, spec[0])
    if not names or set(names) == set(modalities_in(spec[0])):
        raise ValueError(
            "`exchange` must be some of the modalities, not all of them: what remains is matched "
            f"with it. Received: exchange={exchange!r}."
        )
    check_number("negatives", negatives)
    check_bool("same_label", same_label)
    if same_label and head_of(spec[1], head).shape.rank != 1:
        raise ValueError(
            "`same_label` must be False for labels that are no class numbers (B,). "
            f"Received labels of shape {tuple(head_of(spec[1], head).shape)}."
        )
    moving = [key for name in names for key in (name, name + PRESENT) if key in spec[0]]

    def change(key: tf.Tensor, element: tuple) -> tuple:
        inputs, labels, *weights = element
        batch = tf.shape(inputs[names[0]])[0]
        allowed = ~tf.eye(batch, dtype=tf.bool)
        if same_label:
            classes = head_of(labels, head)
            allowed &= classes[:, None] != classes[None, :]
        presences = [inputs[name + PRESENT] for name in names if name + PRESENT in inputs]
        if len(presences) == len(names):
            there = tf.reduce_any(tf.cast(tf.concat(presences, axis=1), tf.bool), axis=1)
            allowed &= there[None, :]
        keep, partner = _negatives(key, inputs, allowed, negatives, hardness)
        own = tf.concat([tf.range(batch), keep], axis=0)
        other = tf.concat([tf.range(batch), partner], axis=0)
        match = tf.concat([tf.ones(batch, tf.int32), tf.zeros(tf.shape(keep), tf.int32)], axis=0)
        order = tf.argsort(uniform(fold(key, "order"), tf.shape(match)))
        own, other, match = (tf.gather(part, order) for part in (own, other, match))
        paired = {
            name: tf.gather(value, other if name in moving else own)
            for name, value in inputs.items()
        }
        weights = (head_of(part, head) for part in weights)
        return paired, match, *(tf.gather(part, own) for part in weights)

    seeded = with_seeds(dataset, seed, "pairs", each_epoch)
    return map_in_order(seeded, change, num_parallel_calls)


def _negatives(key, inputs, allowed, negatives, hardness) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns samples and their partners, which don't match."""
    batch = tf.shape(allowed)[0]
    scores = uniform(fold(key, "scores"), (batch, batch))
    if hardness is not None:
        scores = tf.cast(hardness(inputs), tf.float32)
        scores = tf.ensure_shape(scores, (None, None))
    scores = tf.where(allowed, scores, -tf.constant(float("inf")))
    ranked = tf.argsort(scores, axis=1, direction="DESCENDING")
    count = tf.cast(tf.round(negatives * tf.cast(batch, tf.float32)), tf.int32)
    turn = tf.range(count)
    sample = tf.gather(tf.argsort(uniform(fold(key, "samples"), (batch,))), turn % batch)
    # A sample's first negative is the best of its row, its second the second best, and so on.
    rank = turn // batch
    possible = rank < tf.gather(tf.reduce_sum(tf.cast(allowed, tf.int32), axis=1), sample)
    sample, rank = tf.boolean_mask(sample, possible), tf.boolean_mask(rank, possible)
    return sample, tf.gather_nd(ranked, tf.stack([sample, rank], axis=1))
