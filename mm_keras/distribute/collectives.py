"""Sums over all replicas."""

from collections.abc import Sequence

import tensorflow as tf


def sum_of_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns, on each replica, the sums over all replicas, sent together by type.

    Collectives ask for the device of a tensor; `identity` gives it that of the replica.
    """
    context = tf.distribute.get_replica_context()
    sums: list[tf.Tensor | None] = [None] * len(values)
    for dtype in dict.fromkeys(value.dtype for value in values):
        places = [place for place, value in enumerate(values) if value.dtype == dtype]
        found = context.all_reduce("SUM", [tf.identity(values[place]) for place in places])
        for place, value in zip(places, found, strict=True):
            sums[place] = value
    return sums
