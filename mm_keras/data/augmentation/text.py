"""Augmentations of token ids: 0 is padding, at the end; 1 is unknown."""

import dataclasses

import tensorflow as tf

from mm_keras._checks import check_int, check_number
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.seeds import fold, uniform

UNKNOWN = 1


class Tokens(Augmentation):
    """An augmentation of token ids `(T,)`, padded with 0 at the end."""

    ranks = (1,)
    floating = False
    takes = "token ids (T,) of whole numbers"


@dataclasses.dataclass(frozen=True)
class TokenDropout(Tokens):
    """Takes tokens out of a text, or makes them unknown; at least one token stays.

    Args:
        rate: Probability for each token, in [0, 1).
        to_unknown: Whether a dropped token becomes the unknown one (1) in its place. If not, the
            others move up and padding fills the end.
    """

    rate: float = 0.1
    to_unknown: bool = False

    def __post_init__(self):
        check_number("rate", self.rate, below=1.0)

    def __call__(self, value, seed):
        draws = uniform(seed, tf.shape(value))
        draws = tf.where(value != 0, draws, -1.0)
        stays = (draws >= self.rate) | (draws == tf.reduce_max(draws))
        if self.to_unknown:
            return tf.where(stays | (value == 0), value, tf.cast(UNKNOWN, value.dtype))
        kept = tf.where(stays, value, tf.zeros_like(value))
        return tf.gather(kept, tf.argsort(tf.cast(kept == 0, tf.int32), stable=True))


@dataclasses.dataclass(frozen=True)
class TokenSwap(Tokens):
    """Swaps tokens of a text with one another; padding stays where it is.

    Args:
        swaps: How many times two tokens change places. Both places are drawn evenly, and may be
            the same.
    """

    swaps: int = 1

    def __post_init__(self):
        check_int("swaps", self.swaps)

    def __call__(self, value, seed):
        length = tf.cast(tf.math.count_nonzero(value), tf.float32)
        for number in range(self.swaps):
            drawn = uniform(fold(seed, number), (2,))
            places = tf.cast(tf.floor(drawn * length), tf.int32)
            value = tf.tensor_scatter_nd_update(
                value, places[:, None], tf.gather(value, tf.reverse(places, [0]))
            )
        return value
