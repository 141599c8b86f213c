"""Checks of the arguments that fit, evaluate and predict share."""

import keras
import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.training import GroupedOptimizer


def check_steps(argument: str, steps: int | None) -> None:
    """Raises unless it is `None` or a number of at least 1."""
    if steps is not None:
        check_int(argument, steps)


def check_accumulation(model: keras.Model) -> None:
    """Raises for gradient accumulation where Keras has none: several replicas of one process."""
    optimizer, strategy = model.optimizer, model.distribute_strategy
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    parts = optimizer.members if isinstance(optimizer, GroupedOptimizer) else [optimizer]
    steps = parts[0].gradient_accumulation_steps
    if (
        steps
        and strategy.num_replicas_in_sync > 1
        and isinstance(strategy, tf.distribute.MirroredStrategy)
    ):
        raise ValueError(
            "`gradient_accumulation_steps` of the optimizer must be None under a MirroredStrategy "
            "of several replicas, where Keras can't accumulate: start a worker for each device "
            f"(mm.distribute.launch), or make batches larger. Received: {steps}."
        )
