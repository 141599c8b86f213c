"""Comparisons whose failures name what is at fault."""

import pathlib
import tempfile
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops, tree


def require(condition, message: str) -> None:
    """Raises an `AssertionError` unless `condition` holds, under `python -O` too."""
    if not condition:
        raise AssertionError(message)


def require_finite(values, what: str) -> None:
    """Requires that no array in a nest has an infinity or NaN."""
    for value in tree.flatten(values):
        require(np.all(np.isfinite(value)), f"The {what} is not finite.")


def require_close(actual, expected, what: str, rtol: float) -> None:
    """Requires one structure and close values; `rtol` is the absolute tolerance too."""
    if isinstance(expected, Mapping):
        require(actual.keys() == expected.keys(), f"The {what}: {actual.keys()} differ.")
        for key in expected:
            require_close(actual[key], expected[key], f"{what} ({key!r})", rtol)
    elif isinstance(expected, list | tuple):
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            require_close(one, other, f"{what} ({index})", rtol)
    else:
        message = f"The {what} differs."
        np.testing.assert_allclose(actual, expected, rtol, atol=rtol, err_msg=message)


def require_same_weights(model, loaded, name) -> None:
    """Requires the same weights, to the last bit, in the same order."""
    require(
        len(model.weights) == len(loaded.weights),
        f"{name} has {len(model.weights)} weights, and {len(loaded.weights)} after loading.",
    )
    for weight, other in zip(model.weights, loaded.weights, strict=True):
        require(
            np.array_equal(weight.numpy(), other.numpy()),
            f"{name}: weight {weight.path!r} is another after saving and loading.",
        )


def require_specs(specs, outputs, name) -> None:
    """Checks that symbolic outputs, with a batch of `None`, foretell the real ones."""
    tree.assert_same_structure(specs, outputs)
    pairs = zip(tree.flatten(specs), tree.flatten(outputs), strict=True)
    for index, (spec, output) in enumerate(pairs):
        fits = len(spec.shape) == len(output.shape) and all(
            size in (None, real) for size, real in zip(spec.shape, output.shape, strict=True)
        )
        fits = fits and all(size is not None for size in spec.shape[1:])
        require(
            fits,
            f"Output {index} of {name} is foretold as {spec.shape} and has shape {output.shape}.",
        )
        require(
            spec.shape[0] is None,
            f"Output {index} of {name} is foretold as {spec.shape}: its batch should be None.",
        )
        require(
            str(spec.dtype) == str(output.dtype),
            f"Output {index} of {name} is foretold as {spec.dtype} and is {output.dtype}.",
        )


def saved_and_loaded(model: keras.Model) -> keras.Model:
    """Returns a model saved as `.keras` and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        return keras.models.load_model(path)


def to_numpy(values):
    """Returns a nest of tensors as a nest of arrays."""
    return tree.map_structure(ops.convert_to_numpy, values)


def name_of(thing) -> str:
    """Returns the class, and the name where there is one, for messages."""
    name = getattr(thing, "name", None)
    return f"{type(thing).__name__} {name!r}" if name else type(thing).__name__
