"""Random draws that depend on a seed, the place in the stream and the epoch, and nothing else."""

import secrets
import zlib

import tensorflow as tf

from mm_keras._checks import check_bool, check_int


def with_seeds(
    dataset: tf.data.Dataset, seed: int | None, purpose: str, each_epoch: bool = True
) -> tf.data.Dataset:
    """Pairs each element with the seed of its random draws, for stateless random ops.

    The seeds are drawn in order, before anything runs in parallel. So the same `seed` gives the
    same stream whatever the parallelism. Each pass over the dataset has seeds of its own, which
    the next run of the program repeats: `iter` called for the n-th time starts the n-th pass. As
    with tf.data's own `shuffle`, the global seed of `keras.utils.set_random_seed` counts too.

    Args:
        dataset: Of any elements.
        seed: `None`: another at each call.
        purpose: Keeps steps of one pipeline that are given the same seed apart.
        each_epoch: Whether each pass over the dataset has seeds of its own.

    Returns:
        Elements `(seed of shape (2,), element)`.
    """
    if seed is None:
        seed = secrets.randbits(31)
    check_int("seed", seed, minimum=0)
    check_bool("each_epoch", each_epoch)
    salted = zlib.crc32(f"{purpose} {seed}".encode())
    draws = tf.data.Dataset.random(salted, rerandomize_each_iteration=each_epoch)
    keys = draws.map(lambda draw: tf.stack([draw, tf.constant(salted, draw.dtype)]))
    return tf.data.Dataset.zip(keys, dataset)


def fold(seed: tf.Tensor, *parts: str | int | tf.Tensor) -> tf.Tensor:
    """Returns a seed of `seed` and what it is for, so that several draws are independent."""
    for part in parts:
        number = zlib.crc32(part.encode()) & 0x7FFFFFFF if isinstance(part, str) else part
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(number, seed.dtype))
    return seed


def uniform(seed: tf.Tensor, shape=(), low=0.0, high=1.0) -> tf.Tensor:
    """Returns float32 numbers drawn evenly from low to high."""
    return tf.random.stateless_uniform(shape, seed, low, high)
