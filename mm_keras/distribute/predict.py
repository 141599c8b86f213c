"""Prediction on all replicas."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras.distribute.batches import Batches, Passes
from mm_keras.distribute.callbacks import callbacks_of_pass, check_callbacks
from mm_keras.distribute.checks import check_steps
from mm_keras.distribute.scope import workers_of


def predict(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    steps: int | None = None,
    verbose: str | int = "auto",
    callbacks: Any = None,
) -> Any:
    """Predicts as `Model.predict` does, on all replicas of its strategy.

    Every worker calls it, and gets the predictions for all samples, in their order.

    Args:
        model: Made under the strategy's scope.
        dataset: Batches, the same on every worker: inputs, `(inputs, labels)` or
            `(inputs, labels, weights)`.
        steps: Batches to predict; `None`: all.
        verbose: As for `Model.predict`; the chief alone shows it.
        callbacks: As for `mm.distribute.fit`.

    Returns:
        Arrays in the structure of the model's outputs.

    Raises:
        ValueError: If an argument doesn't fit, or the model was made elsewhere.
        TypeError: For an argument of the wrong type.
        WorkerLost: If another worker dies.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    >>> data = tf.data.Dataset.from_tensor_slices({"a": np.zeros((6, 4))})
    >>> mm.distribute.predict(model, data.batch(4), verbose=0)["label"].shape
    (6, 2)
    """
    check_steps("steps", steps)
    check_callbacks(callbacks)
    workers = workers_of(model, compiled=False)
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "`dataset` must be a tf.data.Dataset of batches, the same on every worker. "
            f"Received: {type(dataset).__name__}."
        )
    batches = Batches(workers, dataset)
    passes = Passes(batches, steps)
    function = _function(model, batches)
    callbacks = callbacks_of_pass(callbacks, workers, verbose, passes, model)
    found, first = [], 0
    model.stop_predicting = False
    callbacks.on_predict_begin()
    with workers.reporting_loss():
        try:
            for first, _, iterator in passes:
                callbacks.on_predict_batch_begin(first)
                rows, outputs = function(iterator)
                order = np.argsort(rows.numpy(), kind="stable")
                outputs = keras.tree.map_structure(lambda x, o=order: x.numpy()[o], outputs)
                found.append(outputs)
                callbacks.on_predict_batch_end(first, {"outputs": outputs})
                if workers.any(model.stop_predicting):
                    break
        except tf.errors.OutOfRangeError:
            passes.end(first)
    callbacks.on_predict_end()
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)


def _function(model, batches):
    """Returns a function from an iterator to the rows of a batch, in some order, and outputs."""
    strategy = batches.workers.strategy

    def step(data, rows, total):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = model(x, training=False)
        count = tf.size(rows)
        return tf.identity(rows), keras.tree.map_structure(lambda y: y[:count], outputs)

    def predict_batch(iterator):
        parts = strategy.run(step, args=next(iterator))
        if strategy.num_replicas_in_sync == 1:
            return parts
        return keras.tree.map_structure(lambda part: strategy.gather(part, axis=0), parts)

    return predict_batch if model.run_eagerly else tf.function(predict_batch)
