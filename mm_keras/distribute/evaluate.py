"""Evaluation on all replicas."""

from typing import Any

import keras
import tensorflow as tf

from mm_keras.distribute.batches import Batches, Passes, Source
from mm_keras.distribute.callbacks import callbacks_of_pass, check_callbacks
from mm_keras.distribute.checks import check_steps
from mm_keras.distribute.scope import create_variables, workers_of
from mm_keras.distribute.steps import test_function
from mm_keras.distribute.workers import Workers


def evaluate(
    model: keras.Model,
    dataset: Source,
    *,
    steps: int | None = None,
    verbose: str | int = "auto",
    callbacks: Any = None,
    return_dict: bool = False,
) -> float | list[float] | dict[str, float]:
    """Evaluates a model as `Model.evaluate` does, on all replicas of its strategy.

    Every worker calls it, and gets the same figures: those of all samples, each counted once.

    Args:
        model: Compiled, under the strategy's scope.
        dataset: As for `mm.distribute.fit`.
        steps: Batches to evaluate; `None`: all.
        verbose: As for `Model.evaluate`; the chief alone shows it.
        callbacks: As for `mm.distribute.fit`.
        return_dict: Whether to return `{name: value}`.

    Returns:
        The loss and metrics, as `Model.evaluate` returns them.

    Raises:
        ValueError: If an argument doesn't fit, or the model was made elsewhere.
        TypeError: For an argument of the wrong type.
        WorkerLost: If another worker dies.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    >>> model.compile("adam", mm.losses.classification(), metrics=["accuracy"])
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((6, 4))}, [0, 0, 0, 1, 1, 1]))
    >>> figures = mm.distribute.evaluate(model, data.batch(4), return_dict=True, verbose=0)
    >>> figures["accuracy"]
    0.5
    """
    check_steps("steps", steps)
    check_callbacks(callbacks)
    workers = workers_of(model)
    evaluation = Evaluation(model, workers, dataset, steps)
    logs = evaluation(callbacks_of_pass(callbacks, workers, verbose, evaluation.passes, model))
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


class Evaluation:
    """An evaluation that can be repeated.

    Args:
        model: Compiled.
        workers: Of its strategy.
        dataset: What is evaluated.
        steps: Batches; `None`: all.
        argument: What messages call the dataset.
    """

    def __init__(
        self,
        model: keras.Model,
        workers: Workers,
        dataset: Source,
        steps: int | None,
        argument: str = "dataset",
    ):
        self.model = model
        self.workers = workers
        batches = Batches(workers, dataset, argument)
        self.passes = Passes(batches, steps, model.steps_per_execution)
        create_variables(model, workers, batches.element_spec, training=False)
        self._function = test_function(model, batches)

    def __call__(self, callbacks: keras.callbacks.CallbackList) -> dict[str, float]:
        """Returns the figures of one pass."""
        model, logs, first = self.model, {}, 0
        model.stop_evaluating = False
        callbacks.on_test_begin()
        model.reset_metrics()
        with self.workers.reporting_loss():
            try:
                for first, number, iterator in self.passes:
                    callbacks.on_test_batch_begin(first)
                    logs = self._function(iterator, tf.constant(number))
                    callbacks.on_test_batch_end(first + number - 1, logs)
                    if self.workers.any(model.stop_evaluating):
                        break
            except tf.errors.OutOfRangeError:
                self.passes.end(first)
        logs = {name: float(value) for name, value in logs.items()}
        callbacks.on_test_end(logs)
        return logs
