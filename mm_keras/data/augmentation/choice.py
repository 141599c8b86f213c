"""Augmentations of augmentations: some of several, or only sometimes."""

from collections.abc import Sequence

import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.data.augmentation.base import Augmentation, check_share
from mm_keras.data.augmentation.image import as_augmentation
from mm_keras.data.seeds import fold, uniform


class SomeOf(Augmentation):
    """Augmentations drawn from several, one after the other; only those drawn are computed.

    `SomeOf([RandomFlip(), RandomRotation(0.1), …], count=2)` is RandAugment with layers of one's
    own choice. `keras.layers.RandAugment` computes every layer and then chooses.

    Args:
        augmentations: Of one modality, which keep its shape.
        count: How many are drawn, with replacement.

    Reference: Cubuk et al., RandAugment, 2020.
    """

    def __init__(self, augmentations: Sequence, count: int = 1):
        check_int("count", count)
        if isinstance(augmentations, str) or not isinstance(augmentations, Sequence):
            raise TypeError(
                "`augmentations` must be a sequence of augmentations. "
                f"Received: augmentations={augmentations!r}."
            )
        if not augmentations:
            raise ValueError("`augmentations` must have at least one. Received: none.")
        self.augmentations = [as_augmentation(one) for one in augmentations]
        self.count = count

    def check(self, name, value, present):
        for one in self.augmentations:
            one.check(name, value, present)

    def with_presence(self, value, present, seed):
        for step in range(self.count):
            seed = fold(seed, step)
            chosen = tf.random.stateless_uniform(
                (), seed, 0, len(self.augmentations), dtype=tf.int32
            )
            branches = [_branch(one, value, present, seed) for one in self.augmentations]
            value, present = _unpack(tf.switch_case(chosen, branches), present)
        return value, present

    def __call__(self, value, seed):
        return self.with_presence(value, None, seed)[0]


class Sometimes(Augmentation):
    """An augmentation of some samples only.

    Args:
        augmentation: One that keeps the shape.
        rate: Share of the samples, in [0, 1].
    """

    def __init__(self, augmentation, rate: float = 0.5):
        check_share("rate", rate)
        self.augmentation = as_augmentation(augmentation)
        self.rate = rate

    def check(self, name, value, present):
        self.augmentation.check(name, value, present)

    def with_presence(self, value, present, seed):
        changed = _branch(self.augmentation, value, present, fold(seed, "change"))
        unchanged = _branch(None, value, present, seed)
        result = tf.cond(uniform(seed) < self.rate, changed, unchanged)
        return _unpack(result, present)

    def __call__(self, value, seed):
        return self.with_presence(value, None, seed)[0]


def _branch(augmentation: Augmentation | None, value, present, seed):
    """Returns a function for tf.switch_case, whose branches can't give None."""

    def run():
        changed, there = value, present
        if augmentation is not None:
            changed, there = augmentation.with_presence(value, present, seed)
            changed = tf.ensure_shape(tf.cast(changed, value.dtype), value.shape)
        return (changed,) if present is None else (changed, there)

    return run


def _unpack(result, present):
    if present is None:
        return (result[0] if isinstance(result, tuple | list) else result), None
    return result[0], result[1]
