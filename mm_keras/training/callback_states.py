"""The states of callbacks as plain JSON and arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mm_keras.training.progress import ProgressBar

# What a callback is given anew by each training.
GIVEN = {"model", "_model", "params", "validation_data"}
DISPLAYS = (keras.callbacks.ProgbarLogger, ProgressBar)


def get_states(
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[dict[str, dict[str, Any]], list[np.ndarray]]:
    """Returns the states of callbacks, for JSON, and the arrays that these refer to.

    Kept are attributes that are numbers, strings, `None`, arrays, functions of `keras.ops`, and
    lists, tuples and dicts of these. Displays of progress have no state.
    """
    arrays, states = [], {}
    for name, callback in _named(callbacks).items():
        states[name] = {}
        for attribute, value in vars(callback).items():
            start = len(arrays)
            try:
                if attribute not in GIVEN:
                    states[name][attribute] = _encode(value, arrays)
            except TypeError:
                del arrays[start:]
    return states, arrays


def check_states(
    callbacks: Sequence[keras.callbacks.Callback], states: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raises `ValueError` if there is a callback whose state is not there."""
    names = list(_named(callbacks))
    if not set(names) <= set(states):
        raise ValueError(
            f"`callbacks` must be those that the training had: {list(states)}. Received: {names}."
        )


def set_states(
    callbacks: Sequence[keras.callbacks.Callback],
    states: Mapping[str, Mapping[str, Any]],
    arrays: Sequence[np.ndarray],
) -> None:
    """Puts back what `get_states` returned."""
    for name, callback in _named(callbacks).items():
        for attribute, value in states[name].items():
            setattr(callback, attribute, _decode(value, arrays))


def _named(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, keras.callbacks.Callback]:
    """Returns the callbacks by class; the second of a class is `"EarlyStopping 2"`."""
    named = {}
    for callback in callbacks:
        if not isinstance(callback, DISPLAYS):
            name = type(callback).__name__
            earlier = sum(type(other).__name__ == name for other in named.values())
            named[f"{name} {earlier + 1}" if earlier else name] = callback
    return named


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
