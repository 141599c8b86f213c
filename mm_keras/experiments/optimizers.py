"""Optimizers that a described experiment may name."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from mm_keras._checks import check_bool, check_choice, check_int, check_number, check_positive
from mm_keras.experiments.keys import as_mapping, check_keys

_NO_NAMES = (
    keras.optimizers.Optimizer,
    keras.optimizers.LossScaleOptimizer,  # the precision says whether there is one
    getattr(keras.optimizers, "MultiOptimizer", None),  # holds others
    keras.optimizers.Lamb,  # Keras 3.15 can't read it from a file
)
OPTIMIZERS = {
    name.lower(): cls
    for name, cls in vars(keras.optimizers).items()
    if isinstance(cls, type)
    and issubclass(cls, keras.optimizers.Optimizer)
    and cls not in _NO_NAMES
}

POSITIVE = ("learning_rate", "clipnorm", "clipvalue", "global_clipnorm")


def read_optimizer(where: str, described: Any, learning_rate: Any = None) -> Any:
    """Returns an optimizer's name, or `{"class_name": …, "config": …}`, after a trial of it.

    Args:
        where: The key in the file, for messages.
        described: The name of a Keras optimizer, `{name: adam, clipnorm: 1.0, …}` with the
            arguments of its class, or Keras' serialised form, which is returned as it is.
        learning_rate: What the file says besides.

    Raises:
        ValueError: For an unknown name or argument, a value that Keras refuses, or two learning
            rates.
        TypeError: For a value of the wrong type.
    """
    if isinstance(described, str):
        check_choice(where, described.lower(), OPTIMIZERS)
        return described
    options = dict(as_mapping(where, described))
    if "class_name" in options:
        return described
    name = str(options.pop("name", None)).lower()
    check_choice(f"{where}.name", name, OPTIMIZERS)
    cls = OPTIMIZERS[name]
    valid = {**_arguments(cls), **_arguments(keras.optimizers.Optimizer)}
    check_keys(where, options, ["name", *(key for key in valid if key != "name")])
    if learning_rate is not None and "learning_rate" in options:
        raise ValueError(
            f"`{where}` must not have a learning_rate where there is one beside it. "
            f"Received: {options['learning_rate']} and {learning_rate}."
        )
    for key, value in options.items():
        _check(f"{where}.{key}", valid[key].default, value)
    if isinstance(options.get("learning_rate"), int):  # which Keras refuses
        options["learning_rate"] = float(options["learning_rate"])
    try:
        cls(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{where}` must be what keras.optimizers.{cls.__name__} takes. Received: "
            f"{described!r}. Keras says: {error}"
        ) from error
    return {"class_name": cls.__name__, "config": options}


def _arguments(cls: type) -> Mapping[str, inspect.Parameter]:
    found = inspect.signature(cls.__init__).parameters
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {key: one for key, one in found.items() if key != "self" and one.kind not in kinds}


def _check(where: str, default: Any, value: Any) -> None:
    """Raises for what Keras would take, and fail of, or do nothing by, in training."""
    key = where.rpartition(".")[2]
    if key in POSITIVE and value is not None:
        check_positive(where, value)
    elif key == "gradient_accumulation_steps" and value is not None:
        check_int(where, value, minimum=2)
    elif isinstance(default, bool):
        check_bool(where, value)
    elif isinstance(default, int | float):
        check_number(where, value)
