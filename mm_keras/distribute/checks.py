"""Checks of the arguments that fit, evaluate and predict share."""

from mm_keras._checks import check_int


def check_steps(argument: str, steps: int | None) -> None:
    """Raises unless it is `None` or a number of at least 1."""
    if steps is not None:
        check_int(argument, steps)
