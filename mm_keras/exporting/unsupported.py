"""The error for what a file format lacks."""

from collections.abc import Iterable


class UnsupportedError(ValueError):
    """Raised when a format lacks an operation that a model needs.

    Args:
        format: One of `FORMATS`.
        operations: Names of TensorFlow's operations.
        places: Where they are: `<model>/<layer>/…`.
    """

    def __init__(self, format: str, operations: Iterable[str], places: Iterable[str]):
        super().__init__(
            f"`format` must be one that has every operation of the model; {format!r} lacks "
            f"{sorted(operations)}, at {sorted(places)}. Export to 'saved_model', or replace these "
            "layers."
        )
