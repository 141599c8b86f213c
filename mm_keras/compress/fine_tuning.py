"""What pruning, clustering and quantization-aware training need to train a model further."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_keras._checks import check_choice, check_int
from mm_keras.data import check_dataset

_ARGUMENTS = tuple(
    name for name in inspect.signature(keras.Model.compile).parameters if name != "self"
)


def compile_arguments(model: keras.Model, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns arguments for `compile`: those given, the others as the model is compiled.

    Optimizers are made anew, so that neither the model's nor the caller's is changed. XLA is used
    only where it is asked for.

    Raises:
        TypeError: If `given` is no dict.
        ValueError: If it has unknown names, if optimizer or loss are lacking, or if those of the
            model cannot be copied.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(
            "`compile` must be a dict of the arguments of keras.Model.compile, e.g. "
            f"{{'optimizer': 'adam', 'loss': 'mse'}}. Received: compile={given!r}."
        )
    for name in given:
        check_choice("compile", name, _ARGUMENTS)
    arguments = {**_own_arguments(model, set(given)), **given}
    lacking = [name for name in ("optimizer", "loss") if arguments.get(name) is None]
    if lacking:
        raise ValueError(
            f"`compile` must hold {' and '.join(lacking)}, or `model` must be compiled. "
            f"Received: compile={dict(given)}."
        )
    optimizer = keras.optimizers.get(arguments["optimizer"])
    arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    arguments.setdefault("jit_compile", False)
    return arguments


def _own_arguments(model, given):
    """Returns copies of what a model is compiled with, but for what is given."""
    if not model.compiled:
        return {}
    try:
        return keras.saving.deserialize_keras_object(
            {k: v for k, v in model.get_compile_config().items() if k not in given}
        )
    except Exception as error:
        raise ValueError(
            "`compile` must hold optimizer, loss and metrics, since those that `model` is compiled "
            f"with cannot be copied: {error}"
        ) from error


def check_training(
    model: keras.Model,
    train: tf.data.Dataset,
    validation_data: tf.data.Dataset | None,
    epochs: int,
    steps_per_epoch: int | None,
) -> int:
    """Checks data before a training; returns the number of steps it will take.

    Args:
        model: The model to train, compiled.
        train: Batches of `(inputs, labels[, sample_weight])`.
        validation_data: Likewise; or `None`.
        epochs: Number of passes.
        steps_per_epoch: Batches in a pass; `None`: all.

    Raises:
        TypeError: If data are no `tf.data.Dataset`, or numbers no integers.
        ValueError: If the first batch does not fit the model, or the length is unknown.
    """
    check_int("epochs", epochs)
    if steps_per_epoch is not None:
        check_int("steps_per_epoch", steps_per_epoch)
    for argument, data in (("train", train), ("validation_data", validation_data)):
        if argument == "validation_data" and data is None:
            continue
        if not isinstance(data, tf.data.Dataset):
            raise TypeError(
                f"`{argument}` must be a tf.data.Dataset of batches. "
                f"Received: {data!r} of type {type(data).__name__}."
            )
        spec = data.element_spec
        if not isinstance(spec, tuple) or len(spec) not in (2, 3):
            raise ValueError(
                f"`{argument}` must give (inputs, labels) or (inputs, labels, sample_weight). "
                f"Received elements: {spec}."
            )
        if isinstance(model.input, dict) and isinstance(model.output, dict):
            check_dataset(data, model, batches=1)
    if steps_per_epoch is None:
        steps_per_epoch = int(train.cardinality())
        if steps_per_epoch < 1:
            raise ValueError(
                "`steps_per_epoch` must be given where the length of `train` is unknown, infinite "
                f"or 0. Received: steps_per_epoch=None, cardinality {steps_per_epoch}."
            )
    return epochs * steps_per_epoch
