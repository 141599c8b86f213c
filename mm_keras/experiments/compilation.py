"""How an experiment compiles its graphs."""

from collections.abc import Mapping
from typing import Any

import keras

from mm_keras.experiments.config import Experiment
from mm_keras.experiments.losses import losses_of
from mm_keras.models import Head, Regression
from mm_keras.models.heads import check_heads
from mm_keras.training import jit_compile


def compile_for(model: keras.Model, experiment: Experiment) -> None:
    """Compiles a graph as an experiment says."""
    heads, chosen = check_heads(experiment.num_classes), experiment.jit_compile
    model.compile(
        _optimizer(experiment),
        losses_of(model, experiment, heads),
        metrics=_metrics(experiment, heads),
        jit_compile=jit_compile() if chosen == "auto" else chosen,
        steps_per_execution=experiment.steps_per_execution,
    )


def _metrics(experiment: Experiment, heads: Mapping[str, Head]) -> Mapping[str, Any]:
    """Returns `{head: metrics}`; heads of numbers have no accuracy."""
    if isinstance(experiment.metrics, Mapping):
        return experiment.metrics
    return {
        name: [m for m in experiment.metrics if m != "accuracy" or not isinstance(head, Regression)]
        for name, head in heads.items()
    }


def _optimizer(experiment: Experiment) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.get(experiment.optimizer)
    if experiment.learning_rate is not None:
        optimizer.learning_rate = experiment.learning_rate
    return optimizer
