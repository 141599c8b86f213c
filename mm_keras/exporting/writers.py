"""One function for each file format: a `Serving` to a file or folder."""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_keras.exporting.onnx_conversion import write_onnx
from mm_keras.exporting.serving import Serving
from mm_keras.exporting.unsupported import UnsupportedError


def write_keras(serving: Serving, path: pathlib.Path) -> None:
    """Writes a `.keras` file, which a process loads that knows the layers' classes."""
    serving.model.save(path)


def write_saved_model(serving: Serving, path: pathlib.Path) -> None:
    """Writes a SavedModel with the endpoint `serve` and the signature `serving_default`."""
    archive = keras.export.ExportArchive()
    for layer in serving.layers:
        archive.track(layer)
    # A plain function: Keras traces it with the names and types of the signature.
    archive.add_endpoint("serve", lambda inputs: serving(inputs), [serving.inputs])
    archive.write_out(os.fspath(path), verbose=False)


def write_litert(serving: Serving, path: pathlib.Path) -> None:
    """Writes a `.tflite` file whose signature has the names of inputs and outputs."""
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(serving, pathlib.Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        with clear_conversion_errors():
            content = converter.convert()
    path.write_bytes(content)


@contextlib.contextmanager
def clear_conversion_errors() -> Iterator[None]:
    """Turns LiteRT's error for operations that it does not have into one that names them."""
    try:
        yield
    except Exception as error:  # a class of its own, which is not public
        operations = set(re.findall(r"'(tf\.\w+)' op", str(error)))
        if not operations:
            raise
        # Of each a place is told: "<operation>:", "<model>/<layer>/…@…".
        told = dict(re.findall(r'"(\w+):", "([^"@]+/[^"@]+)[@"]', str(error)))
        places = [told[name[3:]] for name in operations if name[3:] in told]
        raise UnsupportedError("litert", operations, places) from error


class Format(NamedTuple):
    """A file format.

    Args:
        suffix: Of its files; empty for folders.
        write: Writes a `Serving` to a path.
        strings: Whether it has strings.
        preprocessing: Values of `preprocessing` that it takes.
        tolerance: Greatest difference from the model that is allowed, relative to the greatest
            output.
    """

    suffix: str
    write: Callable[[Serving, pathlib.Path], None]
    strings: bool
    preprocessing: tuple[bool | str, ...]
    tolerance: float


FORMATS = {
    "keras": Format(".keras", write_keras, True, (False,), 1e-5),
    "saved_model": Format("", write_saved_model, True, (False, True, "pad", "crop"), 1e-4),
    "litert": Format(".tflite", write_litert, False, (False, True), 1e-3),
    "onnx": Format(".onnx", write_onnx, False, (False, True), 1e-3),
}
