"""What layers over several students share: one tensor of all of them, and who is there."""

from collections.abc import Mapping

from keras import ops

ACTIVATIONS = ("softmax", "sigmoid", "linear")


def check_students(kind: str, shapes: Mapping[str, tuple]) -> list[str]:
    """Returns the sorted names after a check that all students have one shape `(B, C)`."""
    if not isinstance(shapes, Mapping):
        raise TypeError(
            f"`inputs` of {kind} must be a dict {{student: (B, C)}}. Received shapes: {shapes!r}."
        )
    widths = {name: tuple(shape)[1:] for name, shape in shapes.items()}
    if len(set(widths.values())) != 1 or len(next(iter(widths.values()))) != 1:
        raise ValueError(
            f"`inputs` of {kind} must be (B, C), with one C for all students. "
            f"Received shapes: { ({name: tuple(shape) for name, shape in shapes.items()}) }."
        )
    return sorted(widths)


def stack_students(kind: str, names, inputs, mask):
    """Returns `(K, B, C)` in float32, zeros where absent, and `(K, B, 1)` bool: who is present."""
    unknown = sorted(set(mask or {}) - set(names))
    if unknown:
        raise ValueError(
            f"`mask` of {kind} must have names out of {names}. Received also: {unknown}."
        )
    x = ops.stack([ops.cast(inputs[name], "float32") for name in names])
    everywhere = ops.ones_like(x[0, :, :1], dtype="bool")
    given = {name: m for name, m in (mask or {}).items() if m is not None}
    present = ops.stack(
        [
            ops.any(ops.cast(given[name], "bool"), axis=1, keepdims=True)
            if name in given
            else everywhere
            for name in names
        ]
    )
    return ops.where(present, x, ops.zeros_like(x)), present
