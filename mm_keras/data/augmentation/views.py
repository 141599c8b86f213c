"""Augmentations of sets of views: their order, and which are there."""

import dataclasses

import tensorflow as tf

from mm_keras._checks import check_number
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.elements import expand
from mm_keras.data.seeds import uniform


class ViewSet(Augmentation):
    """An augmentation of views `(V, H, W, C)`."""

    ranks = (4,)
    takes = "views (V, H, W, C)"

    def __call__(self, value, seed):
        return self.with_presence(value, None, seed)[0]


@dataclasses.dataclass(frozen=True)
class ViewShuffle(ViewSet):
    """Puts the views in another order, and with them which of them are there."""

    def with_presence(self, value, present, seed):
        order = tf.argsort(uniform(seed, (tf.shape(value)[0],)))
        if present is not None and present.shape[0] != 1:
            present = tf.gather(present, order)
        return tf.gather(value, order), present


@dataclasses.dataclass(frozen=True)
class ViewMask(ViewSet):
    """Marks views as absent; of those that a sample has, at least one stays.

    It needs the presence input `(V,)` of a spec with `optional_views=True`.

    Args:
        rate: Probability for each view, in [0, 1).
    """

    rate: float = 0.2

    def __post_init__(self):
        check_number("rate", self.rate, below=1.0)

    def check(self, name, value, present):
        super().check(name, value, present)
        if present is None or present.shape[0] != value.shape[0]:
            raise ValueError(
                f"`augmentations[{name!r}]` has ViewMask, which must be given the presence of "
                f"each view: an input '{name}_present' of shape ({value.shape[0]},). Received: "
                f"{'none' if present is None else tuple(present.shape)}."
            )

    def with_presence(self, value, present, seed):
        there = tf.cast(present, tf.bool)
        draws = tf.where(there, uniform(seed, tf.shape(there)), -1.0)
        stays = there & ((draws >= self.rate) | (draws == tf.reduce_max(draws)))
        value = tf.where(expand(stays, value), value, tf.zeros_like(value))
        return value, tf.cast(stays, present.dtype)
