"""Argument checks whose messages say what was expected, what was received and how to mend it."""

import difflib
import numbers
import re
from collections.abc import Iterable, Sequence

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
PRESENT = "_present"


def nearest(value: object, choices: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for the choice closest to `value`, or an empty string."""
    by_lower = {choice.lower(): choice for choice in choices}
    match = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""


def check_choice(argument: str, value: object, choices: Iterable[str | bool | None]) -> None:
    """Raises a `ValueError` with the nearest choice unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        hint = nearest(value, [choice for choice in choices if isinstance(choice, str)])
        raise ValueError(
            f"`{argument}` must be one of {choices}.{hint} Received: {argument}={value!r}."
        )


def check_bool(argument: str, value: object) -> None:
    """Raises unless `value` is `True` or `False`."""
    if not isinstance(value, bool):
        raise TypeError(f"`{argument}` must be a bool. Received: {argument}={value!r}.")


def check_int(argument: str, value: object, minimum: int = 1) -> None:
    """Raises unless `value` is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{argument}` must be an integer. Received: {argument}={value!r}.")
    if value < minimum:
        raise ValueError(
            f"`{argument}` must be an integer of at least {minimum}. Received: {argument}={value}."
        )


def check_sizes(argument: str, values: object) -> None:
    """Raises unless `values` is a sequence of positive integers, or empty."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(
            f"`{argument}` must be a sequence of integers, e.g. (64, 32). "
            f"Received: {argument}={values!r}."
        )
    for value in values:
        check_int(argument, value)


def check_number(
    argument: str, value: object, minimum: float = 0.0, below: float = float("inf")
) -> None:
    """Raises unless `minimum <= value < below`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{argument}` must be a number. Received: {argument}={value!r}.")
    if not minimum <= value < below:
        limit = f"at least {minimum}" + (f" and below {below}" if below != float("inf") else "")
        raise ValueError(f"`{argument}` must be {limit}. Received: {argument}={value}.")


def check_positive(argument: str, value: object) -> None:
    """Raises unless `value` is a finite number above 0."""
    check_number(argument, value)
    if not 0 < value < float("inf"):
        raise ValueError(f"`{argument}` must be above 0 and finite. Received: {argument}={value}.")


def check_rank(argument: str, value: object, letters: str) -> None:
    """Raises unless `value` is a tuple of positive integers, one for each of `letters`."""
    names = "(" + ", ".join(letters) + ("," if len(letters) == 1 else "") + ")"
    is_shape = isinstance(value, tuple) and all(
        isinstance(size, numbers.Integral) and not isinstance(size, bool) and size > 0
        for size in value
    )
    if not is_shape or len(value) != len(letters):
        raise ValueError(
            f"`{argument}` must be {names} in positive integers, without the batch axis. "
            f"Received: {argument}={value!r}."
        )


def check_names(argument: str, names: Iterable[str]) -> None:
    """Raises unless every name can name a Keras input and a SavedModel signature argument."""
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"`{argument}` must have strings as names. Received: {name!r} "
                f"of type {type(name).__name__}."
            )
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"`{argument}` must have names of letters, digits and underscores that start with "
                f"a letter, since a SavedModel signature takes no others. Received: {name!r}."
            )
        if name.endswith(PRESENT):
            raise ValueError(
                f"`{argument}` must not have names that end in {PRESENT!r}: that is how the "
                f"presence input of a modality is called. Received: {name!r}."
            )
        if name.lower() in seen:
            raise ValueError(
                f"`{argument}` must have names that differ, also when case is ignored. "
                f"Received twice: {seen[name.lower()]!r} and {name!r}."
            )
        seen[name.lower()] = name
