"""Which callbacks run on which worker."""

from collections.abc import Sequence
from typing import Any

import keras

from mm_keras.distribute.batches import Passes
from mm_keras.distribute.workers import Workers
from mm_keras.training import GradualUnfreezing, ModalityRates, ProgressBar

# They write files, or print: one of all workers does so.
CHIEF_ONLY = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
    ProgressBar,
)


def callback_list(
    callbacks: Any, *, chief: bool, verbose: str | int, history: bool = False, **params: Any
) -> keras.callbacks.CallbackList:
    """Returns the callbacks of a worker, with the progress bar on the chief.

    Left out on the others are those of Keras that write, this package's `ProgressBar`, and any
    with the attribute `chief_only = True`.

    Args:
        callbacks: As for `Model.fit`.
        chief: Whether this worker writes and prints.
        verbose: As for `Model.fit`.
        history: Whether to add a `History`.
        params: Of the callbacks, and the model.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    callbacks = list(keras.tree.flatten(callbacks or []))
    if not chief:
        callbacks = [one for one in callbacks if not is_chief_only(one)]
    return keras.callbacks.CallbackList(
        callbacks,
        add_history=history,
        add_progbar=chief and verbose != 0,
        verbose=verbose if chief else 0,
        **params,
    )


def callbacks_of_pass(
    callbacks: Any, workers: Workers, verbose: str | int, passes: Passes, model: keras.Model
) -> keras.callbacks.CallbackList:
    """Returns the callbacks of one pass that changes nothing: an evaluation, or predictions."""
    return callback_list(
        callbacks,
        chief=workers.is_chief,
        verbose=verbose,
        epochs=1,
        steps=passes.count,
        model=model,
    )


def is_chief_only(callback: keras.callbacks.Callback) -> bool:
    """Returns whether a callback is left out on all workers but the chief."""
    return bool(getattr(callback, "chief_only", isinstance(callback, CHIEF_ONLY)))


def check_callbacks(callbacks: Any, replicas: int = 1) -> None:
    """Raises for what is no callback, or can't be one of several replicas."""
    if isinstance(callbacks, keras.callbacks.CallbackList | None):
        return
    found: Sequence[Any] = keras.tree.flatten(callbacks)
    for one in found:
        if not isinstance(one, keras.callbacks.Callback):
            raise TypeError(
                f"`callbacks` must be callbacks of Keras. Received: {type(one).__name__}."
            )
        if replicas > 1 and isinstance(one, GradualUnfreezing | ModalityRates):
            raise ValueError(
                "`callbacks` must not make another optimizer with several replicas: compile with "
                "an mm.training.GroupedOptimizer for rates, and mm.training.freeze before compile. "
                f"Received: {type(one).__name__} with {replicas} replicas."
            )
