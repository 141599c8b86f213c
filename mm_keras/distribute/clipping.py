"""Clipping of the gradient of the whole batch, not of a replica's part of it.

Keras clips what each replica has, and sums after. Here each of N replicas applies the sum / N, with
limits / N: N clipped parts sum to the clipped sum. Without clipping nothing more is sent.
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from mm_keras.distribute.collectives import sum_of_replicas
from mm_keras.training import GroupedOptimizer

LIMITS = ("clipnorm", "global_clipnorm", "clipvalue")


@contextlib.contextmanager
def limits_of_parts(optimizer: keras.optimizers.Optimizer, replicas: int) -> Iterator[None]:
    """Divides the optimizer's limits while steps are traced: around all replicas, not in each."""
    before = [(part, name, getattr(part, name)) for part, name in _limits(optimizer)]
    for part, name, limit in before:
        setattr(part, name, limit / replicas)
    try:
        yield
    finally:
        for part, name, limit in before:
            setattr(part, name, limit)


def parts_of_sums(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor | None]
) -> list[tf.Tensor | None]:
    """Returns, of gradients that will be clipped, the sum over the N replicas / N."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas == 1 or not _limits(optimizer):
        return list(gradients)
    sums = iter(sum_of_replicas([tf.convert_to_tensor(g) for g in gradients if g is not None]))
    return [None if g is None else next(sums) / replicas for g in gradients]


def _limits(optimizer) -> list[tuple[keras.optimizers.Optimizer, str]]:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    parts = optimizer.members if isinstance(optimizer, GroupedOptimizer) else [optimizer]
    return [(part, name) for part in parts for name in LIMITS if getattr(part, name, None)]
