"""How one modality of two samples becomes one: blended, cut, or taken whole from either."""

from typing import NamedTuple

import tensorflow as tf

from mm_keras.data.elements import as_dtype, expand
from mm_keras.data.seeds import fold, uniform


class Draw(NamedTuple):
    """What is drawn once for a batch and holds for all its modalities.

    Args:
        share: λ, `(B,)`: how much of a sample stays its own.
        order: `(B,)`: each sample's partner.
        seed: For further draws.
    """

    share: tf.Tensor
    order: tf.Tensor
    seed: tf.Tensor


class Mixed(NamedTuple):
    """One modality after mixing.

    Args:
        value: `(B, …)`.
        present: `(B, 1)` or `(B, V)` bool.
        share: `(B,)`: how much of what is there is the sample's own.
    """

    value: tf.Tensor
    present: tf.Tensor
    share: tf.Tensor


class Pair(NamedTuple):
    """One modality of the batch and of its partners, in the batch's order.

    Args:
        value: `(B, …)`.
        other: `(B, …)`.
        present: `(B, 1)` or `(B, V)` bool.
        other_present: As `present`.
    """

    value: tf.Tensor
    other: tf.Tensor
    present: tf.Tensor
    other_present: tf.Tensor


def blend(pair: Pair, draw: Draw, name: str) -> Mixed:
    """λ · own + (1 − λ) · other; where one is absent, the one that is there as it is."""
    own = draw.share[:, None] * tf.cast(pair.present, tf.float32)
    other = (1.0 - draw.share[:, None]) * tf.cast(pair.other_present, tf.float32)
    ratio = tf.math.divide_no_nan(own, own + other)
    # A λ of exactly 0 or 1 leaves the sum 0 where the only one that is there has no weight.
    ratio = tf.where(own + other > 0, ratio, tf.cast(pair.present, tf.float32))
    weight = expand(ratio, pair.value)
    value = weight * tf.cast(pair.value, tf.float32)
    value += (1.0 - weight) * tf.cast(pair.other, tf.float32)
    present = pair.present | pair.other_present
    return Mixed(as_dtype(value, pair.value.dtype), present, _mean(ratio, present))


def take_whole(pair: Pair, draw: Draw, name: str) -> Mixed:
    """Own with probability λ, else other's; where that is absent, the one that is there."""
    there, other_there = (
        tf.reduce_any(present, axis=1) for present in (pair.present, pair.other_present)
    )
    stays = uniform(fold(draw.seed, name), tf.shape(there)) < draw.share
    own = tf.where(stays, there | ~other_there, ~other_there)[:, None]
    value = tf.where(expand(own, pair.value), pair.value, pair.other)
    present = tf.where(own, pair.present, pair.other_present)
    return Mixed(value, present, tf.cast(own[:, 0], tf.float32))


def cut_box(pair: Pair, draw: Draw, name: str) -> Mixed:
    """A box of the other picture in one's own; the same box in all frames or views."""
    height, width = tf.shape(pair.value)[-3], tf.shape(pair.value)[-2]
    side = tf.sqrt(1.0 - draw.share)
    rows = _stretch(height, side, fold(draw.seed, "row"))
    columns = _stretch(width, side, fold(draw.seed, "column"))
    box = rows[:, :, None] & columns[:, None, :]
    shape = tf.concat(
        [
            tf.shape(pair.value)[:1],
            [1] * (pair.value.shape.rank - 4),
            [height, width, 1],
        ],
        axis=0,
    )
    return _cut(pair, tf.reshape(box, shape))


def cut_stretch(pair: Pair, draw: Draw, name: str) -> Mixed:
    """A stretch of the other sound, or sequence, in one's own."""
    stretch = _stretch(tf.shape(pair.value)[1], 1.0 - draw.share, fold(draw.seed, "row"))
    shape = tf.concat([tf.shape(stretch), [1] * (pair.value.shape.rank - 2)], axis=0)
    return _cut(pair, tf.reshape(stretch, shape))


def _stretch(length: tf.Tensor, share: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns `(B, length)` bool, true on a stretch of `share` of the length."""
    size = tf.cast(length, tf.float32)
    width = tf.round(share * size)
    start = tf.floor(uniform(seed, tf.shape(share)) * (size - width + 1.0))
    places = tf.range(size)[None]
    return (places >= start[:, None]) & (places < (start + width)[:, None])


def _cut(pair: Pair, inside: tf.Tensor) -> Mixed:
    present = expand(pair.present, pair.value)
    other_present = expand(pair.other_present, pair.value)
    foreign = (inside & other_present) | ~present
    value = tf.where(foreign, pair.other, pair.value)
    # `foreign` has one entry a pixel and view, or one for all views.
    axes = range(1, pair.value.shape.rank)
    if pair.present.shape[1] == 1:
        share = 1.0 - tf.reduce_mean(tf.cast(foreign, tf.float32), axis=axes)[:, None]
    else:
        share = 1.0 - tf.reduce_mean(tf.cast(foreign, tf.float32), axis=axes[1:])
    there = pair.present | pair.other_present
    return Mixed(value, there, _mean(share, there))


def _mean(share: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Returns the mean of shares `(B, 1)` or `(B, V)` over what is present; 1 where nothing is."""
    weight = tf.cast(present, tf.float32)
    total = tf.reduce_sum(weight, axis=1)
    mean = tf.math.divide_no_nan(tf.reduce_sum(share * weight, axis=1), total)
    return tf.where(total > 0, mean, 1.0)
