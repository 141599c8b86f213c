"""What all decoders need: an assertion that reads well, and libraries that may be lacking."""

import importlib
from typing import Any

import numpy as np
import tensorflow as tf

LENGTHS = (None, "pad", "crop", "fit")  # what is done about sound and videos of another length


def require(condition: tf.Tensor, *parts: Any):
    """Returns control dependencies that raise with the joined parts unless `condition` holds."""
    # Not tf.debugging.Assert, which words its message otherwise when it runs eagerly.
    check = tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(p) for p in parts])
    return tf.control_dependencies([] if check is None else [check])


def as_bytes(value: Any) -> bytes:
    """Returns what `numpy_function` hands over for a string: bytes in graphs, else an array."""
    return value if isinstance(value, bytes) else np.asarray(value).item()


def extra(module: str, name: str):
    """Imports a library that is an extra of this package.

    Raises:
        ImportError: If it isn't installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs the library {module!r}: pip install 'mm_keras[{name}]'"
        ) from error
