"""Checks of the arguments that fit, evaluate and predict share."""

import keras

from mm_keras._checks import check_int
from mm_keras.training import GroupedOptimizer


def check_steps(argument: str, steps: int | None) -> None:
    """Raises unless it is `None` or a number of at least 1."""
    if steps is not None:
        check_int(argument, steps)


def check_accumulation(model: keras.Model) -> None:
    """Raises for gradient accumulation with several replicas, where Keras has none."""
    optimizer, replicas = model.optimizer, model.distribute_strategy.num_replicas_in_sync
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    parts = optimizer.members if isinstance(optimizer, GroupedOptimizer) else [optimizer]
    steps = parts[0].gradient_accumulation_steps
    if steps and replicas > 1:
        raise ValueError(
            "`gradient_accumulation_steps` of the optimizer must be None with several replicas, "
            "where Keras can't accumulate: smaller batches and a smaller learning rate come "
            f"closest, or more replicas. Received: {steps}, {replicas} replicas."
        )
