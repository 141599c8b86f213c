"""Augmentation of whole batches: what can be done for all samples at once is."""

import itertools
from collections.abc import Sequence

import tensorflow as tf

from mm_keras.data.augmentation.affine import compiled_transforms
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.elements import as_dtype
from mm_keras.data.seeds import fold

Numbered = Sequence[tuple[int, Augmentation]]


def change_sample(
    chain: Numbered, value: tf.Tensor, present: tf.Tensor | None, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns one sample changed by augmentations, each with its place in the chain."""
    for place, augmentation in chain:
        value, present = augmentation.with_presence(value, present, fold(seed, place))
    return value, present


def change_batch(
    chain: Numbered,
    value: tf.Tensor,
    present: tf.Tensor | None,
    seed: tf.Tensor,
    jit_compile: bool = True,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns a batch changed by augmentations, each with its place in the chain.

    Args:
        chain: In order.
        value: `(B, …)`.
        present: `(B, 1)` or `(B, V)`; `None`: there is no such input.
        seed: Of the batch.
        jit_compile: Whether XLA compiles what it can fuse.
    """
    dtype = value.dtype
    for (together, fuses), group in itertools.groupby(
        chain, key=lambda numbered: (numbered[1].together, numbered[1].fuses)
    ):
        group = list(group)
        if not together:
            value, present = _one_after_other(group, as_dtype(value, dtype), present, seed)
            continue
        run = _whole(group, dtype if group[-1] == chain[-1] else None)
        if fuses and jit_compile:
            run = tf.function(run, jit_compile=True, autograph=False)
        with compiled_transforms(jit_compile and not fuses):
            value = run(value, seed)
    return as_dtype(value, dtype), present


def _whole(group: Numbered, dtype: tf.DType | None):
    """Returns a function that changes all samples at once; to `dtype`, after the last of all."""

    def run(value, seed):
        for place, augmentation in group:
            value = augmentation.on_batch(value, fold(seed, place))
        return value if dtype is None else as_dtype(value, dtype)

    return run


def _one_after_other(group: Numbered, value, present, seed):
    def change(parts):
        number, sample, *there = parts
        sample, there = change_sample(
            group, sample, there[0] if there else None, fold(seed, "sample", number)
        )
        return (sample,) if present is None else (sample, there)

    given = (value,) if present is None else (value, present)
    changed = tf.map_fn(
        change,
        (tf.range(tf.shape(value)[0]), *given),
        fn_output_signature=tuple(part.dtype for part in given),
    )
    return changed[0], None if present is None else changed[1]
