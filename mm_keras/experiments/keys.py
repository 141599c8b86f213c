"""Checks of the keys of a described experiment."""

from collections.abc import Iterable, Mapping
from typing import Any

from mm_keras._checks import nearest


def as_mapping(where: str, value: Any) -> Mapping[str, Any]:
    """Returns `value`, or raises unless it is a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"`{where}` must be a mapping of keys. Received: {value!r}.")
    return value


def check_keys(where: str, config: Any, valid: Iterable[str]) -> None:
    """Raises for a key that is not valid, and names the nearest one that is."""
    valid = list(valid)
    for key in as_mapping(where, config):
        if key not in valid:
            raise ValueError(
                f"`{where}` must have keys out of {valid}.{nearest(key, valid)} Received: {key!r}."
            )
