"""One model among others in a report: what it weighs, and what it predicts."""

import abc
import dataclasses
import os
import pathlib
import tempfile
import zlib
from typing import Any

import keras
import numpy as np

from mm_keras.compress import flatbuffer
from mm_keras.compress.graph import check_functional
from mm_keras.compress.weights import compressible, compressible_layers
from mm_keras.exporting import LiteRTModel, load
from mm_keras.exporting.serving import Serving
from mm_keras.exporting.writers import write_saved_model
from mm_keras.models import inference_model


@dataclasses.dataclass(frozen=True)
class Weight:
    """What a file weighs.

    Args:
        bytes: On disk.
        zipped_bytes: After DEFLATE, as in a zip.
        parameters: Number of weights.
        sparsity: Share of zeros in kernels and embedding tables.
    """

    bytes: int
    zipped_bytes: int
    parameters: int
    sparsity: float


class Variant(abc.ABC):
    """A model of a report."""

    inputs: dict[str, np.dtype]  # {name: type that the file takes}
    outputs: list[str]

    @abc.abstractmethod
    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns `{output: array}` of a batch."""

    @abc.abstractmethod
    def weigh(self) -> Weight:
        """Returns what the file weighs."""

    @abc.abstractmethod
    def write(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes what the child process of `measure` runs; returns its path."""


class KerasVariant(Variant):
    """A Keras model: as `.keras` it is weighed, as a SavedModel it runs."""

    def __init__(self, model: keras.Model):
        check_functional(model)
        self.model = inference_model(model)
        self.serving = Serving(self.model)
        self.inputs = {n: np.dtype(s.dtype.as_numpy_dtype) for n, s in self.serving.inputs.items()}
        self.outputs = list(self.serving.outputs)

    def predict(self, inputs):
        if not isinstance(self.model.input, dict):
            names = [tensor.name for tensor in keras.tree.flatten(self.model.input)]
            flat = [inputs[name] for name in names]
            inputs = keras.tree.pack_sequence_as(self.model.input, flat)
        outputs = self.model.predict_on_batch(inputs)
        if isinstance(outputs, dict):
            return outputs
        return dict(zip(self.outputs, keras.tree.flatten(outputs), strict=True))

    def weigh(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.keras"
            self.model.save(path)
            content = path.read_bytes()
        kernels = [
            v.numpy()
            for layer in compressible_layers(self.model).values()
            for v in compressible(layer)
        ]
        return _weight(content, self.model.count_params(), kernels)

    def write(self, folder):
        write_saved_model(self.serving, folder / "saved_model")
        return folder / "saved_model"


class LiteRTVariant(Variant):
    """A LiteRT model."""

    def __init__(self, model: LiteRTModel):
        self.model = model
        self.inputs = {name: np.dtype(info.dtype) for name, info in model.inputs.items()}
        self.outputs = list(model.outputs)

    def predict(self, inputs):
        return self.model.predict(inputs, batch_size=len(next(iter(inputs.values()))))

    def weigh(self):
        file = flatbuffer.read(self.model.content)
        count = sum(w.size for w in flatbuffer.weights_of(file, biases=True))
        return _weight(self.model.content, count, flatbuffer.weights_of(file))

    def write(self, folder):
        return self.model.save(folder / "model.tflite")


def variant_of(name: str, model: Any) -> Variant:
    """Returns a model, or the path of a `.keras` or `.tflite` file, as a variant."""
    if isinstance(model, str | os.PathLike):
        model = load(model)
    if isinstance(model, LiteRTModel):
        return LiteRTVariant(model)
    if isinstance(model, keras.Model):
        return KerasVariant(model)
    raise TypeError(
        "`variants` must hold functional Keras models, LiteRT models, or paths of .keras or "
        f".tflite files. Received for {name!r}: an object of type {type(model).__name__}."
    )


def _weight(content: bytes, parameters: int, kernels: list[np.ndarray]) -> Weight:
    size = sum(kernel.size for kernel in kernels)
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    return Weight(len(content), len(zlib.compress(content, 9)), parameters, zeros / max(1, size))
