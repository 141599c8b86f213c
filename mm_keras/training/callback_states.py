"""The states of callbacks as plain JSON and arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

# What a callback is given anew by each training.
GIVEN = {"model", "_model", "params", "validation_data"}


def get_states(
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Returns the state of each callback, for JSON, and the arrays that these refer to.

    Kept are attributes that are numbers, strings, `None`, arrays, functions of `keras.ops`, and
    lists, tuples and dicts of these.
    """
    arrays, states = [], []
    for callback in callbacks:
        found = {}
        for name, value in vars(callback).items():
            start = len(arrays)
            try:
                if name not in GIVEN:
                    found[name] = _encode(value, arrays)
            except TypeError:
                del arrays[start:]
        states.append({"class": type(callback).__name__, "attributes": found})
    return states, arrays


def set_states(
    callbacks: Sequence[keras.callbacks.Callback],
    states: Sequence[Mapping[str, Any]],
    arrays: Sequence[np.ndarray],
) -> None:
    """Puts back what `get_states` returned.

    Raises:
        ValueError: If the callbacks are not those of the states.
    """
    names = [type(callback).__name__ for callback in callbacks]
    stored = [state["class"] for state in states]
    if names != stored:
        raise ValueError(
            f"`callbacks` must be those that the training had: {stored}. Received: {names}."
        )
    for callback, state in zip(callbacks, states, strict=True):
        for name, value in state["attributes"].items():
            setattr(callback, name, _decode(value, arrays))


def _encode(value: Any, arrays: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return {"scalar": value.dtype.name, "value": value.item()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, list):
        return {"list": [_encode(one, arrays) for one in value]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(one, arrays) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    name = getattr(value, "__name__", "")
    if name and getattr(keras.ops, name, None) is value:
        return {"operation": name}
    raise TypeError(f"{type(value).__name__} is no plain value.")


def _decode(value: Any, arrays: Sequence[np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "scalar" in value:
        return np.dtype(value["scalar"]).type(value["value"])
    kind, content = next(iter(value.items()))
    if kind == "array":
        return arrays[content].copy()
    if kind == "operation":
        return getattr(keras.ops, content)
    if kind == "dict":
        return {_decode(k, arrays): _decode(v, arrays) for k, v in content}
    parts = [_decode(one, arrays) for one in content]
    return parts if kind == "list" else tuple(parts)
