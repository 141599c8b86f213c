"""Training on all replicas."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.distribute.batches import Batches, Passes, Source
from mm_keras.distribute.callbacks import callback_list, check_callbacks
from mm_keras.distribute.checks import check_accumulation, check_steps
from mm_keras.distribute.class_weight import weigh_classes
from mm_keras.distribute.evaluate import Evaluation
from mm_keras.distribute.normalization import batch_norm as normalized
from mm_keras.distribute.normalization import check_batch_norm
from mm_keras.distribute.saving import Saving, check_checkpoints
from mm_keras.distribute.scope import create_variables, workers_of
from mm_keras.distribute.steps import train_function
from mm_keras.training import Checkpoints, Position


def fit(
    model: keras.Model,
    dataset: Source,
    *,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Any = None,
    validation_data: Source | None = None,
    class_weight: Mapping[int, float] | None = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_freq: int | Sequence[int] = 1,
    batch_norm: str = "synchronize",
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
) -> keras.callbacks.History:
    """Trains a model as `Model.fit` does, on all replicas of its strategy.

    Strategies are `MirroredStrategy`, `MultiWorkerMirroredStrategy` (for which Keras' own `fit`
    fails), `TPUStrategy` and none. Every worker runs the same program and calls this with the same
    arguments; all end with the same weights and the same history, bit for bit. Batches are those
    of all replicas together, and so is the loss: with the batch size left as it is, a training
    takes the same steps as on one device, and the learning rate needs no change.

    Metrics are those of all samples. The chief, worker 0, alone shows progress and writes: other
    workers leave out `ModelCheckpoint`, `BackupAndRestore`, `TensorBoard`, `CSVLogger` and any
    callback with the attribute `chief_only = True`. The others run everywhere; whichever sets
    `model.stop_training`, on whichever worker, stops all of them after the same step. What a
    callback loads into the model in `on_train_begin` on the chief, all workers get.

    In-graph losses that compare the samples of a batch, such as `ContrastiveLearning`, compare
    those of one replica. docs/distribute.md has the conventions in full.

    Args:
        model: Compiled; model, optimizer and metrics made under the strategy's scope.
        dataset: Batches as for `Model.fit`, sample weights included, the same on every worker:
            shuffle with a seed. Each replica gets its part of each. Or a function of a
            `tf.distribute.InputContext` that makes the batches of one input pipeline, of `B / N`
            samples, for N replicas: for data that no worker should read whole.
        epochs: Number of the epoch to end with.
        verbose: As for `Model.fit`.
        callbacks: As for `Model.fit`.
        validation_data: A dataset, or function, like `dataset`.
        class_weight: `{class: weight}` for a model of one output, 1 for classes left out. Others:
            `mm.data.add_class_weights`.
        initial_epoch: Number of the epoch to start with.
        steps_per_epoch: Batches in an epoch; `None`: all. An epoch then goes on where the one
            before ended.
        validation_steps: Batches to validate on; `None`: all.
        validation_freq: Epochs from one validation to the next, or a list of epochs, from 1.
        batch_norm: `"synchronize"`: each `BatchNormalization` normalises with the statistics of
            the whole batch, as on one device; `"average"`: with those of the replica's part,
            and moving statistics are averaged after each epoch: faster, since nothing is sent.
        checkpoints: Where to keep the state of the training, for `resume`. Workers must all see
            the folder.
        resume: Whether to go on from the last checkpoint, if there is one, as if the training had
            never been interrupted: the same program starts again, with the same arguments. Data
            that are shuffled or augmented come in the order of the epoch under way; what the
            interrupted epoch has used is read and skipped. (Not known is the order of a dataset
            that draws anew within a pass, `shuffle(…).repeat(2)` say.) On one CPU all
            numbers are the same to the last bit.

    Returns:
        The `History` of the training, as `Model.fit` does, with the epochs before `resume`.

    Raises:
        ValueError: If an argument doesn't fit, or the model was made elsewhere.
        TypeError: For an argument of the wrong type.
        WorkerLost: If another worker dies; within a minute.
        OSError: If a checkpoint can't be written. Those before it are whole.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> strategy = mm.distribute.strategy("plain")
    >>> with strategy.scope():
    ...     model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    ...     model.compile("adam", mm.losses.classification(), metrics=["accuracy"])
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((6, 4))}, [0, 0, 0, 1, 1, 1]))
    >>> history = mm.distribute.fit(model, data.batch(4), epochs=2, verbose=0)
    >>> sorted(history.history), history.history["accuracy"]
    (['accuracy', 'loss'], [0.5, 0.5])
    """
    check_int("epochs", epochs)
    check_int("initial_epoch", initial_epoch, minimum=0)
    check_steps("steps_per_epoch", steps_per_epoch)
    check_steps("validation_steps", validation_steps)
    _check_frequency(validation_freq)
    check_batch_norm(batch_norm)
    check_checkpoints(checkpoints, resume)
    workers = workers_of(model)
    check_accumulation(model)
    check_callbacks(callbacks, workers.strategy.num_replicas_in_sync)
    if class_weight is not None:
        dataset = weigh_classes(model, dataset, class_weight)
    batches = Batches(workers, dataset)
    passes = Passes(batches, steps_per_epoch, model.steps_per_execution)
    create_variables(model, workers, batches.element_spec, training=True)
    validation = None
    if validation_data is not None:
        validation = Evaluation(
            model, workers, validation_data, validation_steps, "validation_data"
        )
    train, learning = None, None
    average = workers.averaging(model.non_trainable_weights)
    share = workers.sharing([*model.weights, *model.optimizer.variables])
    callbacks = callback_list(
        callbacks,
        chief=workers.is_chief,
        verbose=verbose,
        history=True,
        epochs=epochs,
        steps=passes.count,
        model=model,
    )

    saving = Saving(model, workers, checkpoints, callbacks.callbacks)
    model.stop_training = False
    logs: dict[str, Any] = {}
    with workers.reporting_loss(), normalized(model, workers, batch_norm):
        callbacks.on_train_begin()
        # Where keras.callbacks.BackupAndRestore, which runs on the chief, says what to go on with.
        resumed = getattr(model, "_initial_epoch", None) or initial_epoch
        start = saving.restore() if resume else None
        share()
        if start:
            passes.go_to(start.epoch - initial_epoch, start.step)
        else:
            start = Position(workers.exchange(resumed)[0])
        for epoch in range(start.epoch, start.epoch if start.stopped else epochs):
            if (epoch, 0) >= (start.epoch, start.step):
                model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            if learning != _what_learns(model):  # callbacks may freeze and unfreeze
                train, learning = train_function(model, batches), _what_learns(model)
            logs = _train_epoch(model, workers, passes, train, callbacks, saving.within(epoch))
            average()
            if validation and _validates(epoch, validation_freq):
                found = validation(callbacks)
                logs |= {f"val_{name}": value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, logs)
            model.stop_training = workers.any(model.stop_training)
            saving(Position(epoch + 1, stopped=model.stop_training))
            if model.stop_training:
                break
        model.optimizer.finalize_variable_values(model.trainable_weights)
        callbacks.on_train_end(logs)
    return model.history


def _train_epoch(model, workers, passes, train, callbacks, save) -> dict[str, float]:
    """Returns the metrics of an epoch."""
    first = passes.first
    logs = model.get_metrics_result() if first else {}  # of an epoch that goes on
    try:
        for first, number, iterator in passes:
            callbacks.on_train_batch_begin(first)
            logs = train(iterator, tf.constant(number))
            callbacks.on_train_batch_end(first + number - 1, logs)
            if workers.any(model.stop_training):
                model.stop_training = True
                break
            save(first, first + number)
    except tf.errors.OutOfRangeError:
        passes.end(first)
    return {name: float(value) for name, value in logs.items()}


def _what_learns(model) -> tuple[int, ...]:
    """Returns what the optimizer and the weights that it changes are told by."""
    return id(model.optimizer), *map(id, model.trainable_weights)


def _check_frequency(frequency) -> None:
    several = isinstance(frequency, list | tuple | set)
    for value in frequency if several else [frequency]:
        check_int("validation_freq", value)


def _validates(epoch: int, frequency) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency
