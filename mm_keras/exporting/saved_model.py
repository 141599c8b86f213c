"""SavedModels, run as a Keras model is."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from mm_keras.exporting.card import read_card
from mm_keras.exporting.exported_model import ExportedModel, TensorInfo
from mm_keras.exporting.litert import SIGNATURE


class SavedModel(ExportedModel):
    """A SavedModel with the `predict` of a `keras.Model`.

    A SavedModel is a program, which TensorFlow runs: load only those that you trust.

    Args:
        path: Of the folder.

    Attributes:
        inputs: `{name: TensorInfo}`.
        outputs: `{name: TensorInfo}`.
        card: What `mm.export` wrote about the model, or `None`.

    Raises:
        ValueError: If the folder holds no SavedModel with the signature `serving_default`.
    """

    def __init__(self, path: str | os.PathLike):
        if not (pathlib.Path(path) / "saved_model.pb").is_file():
            raise ValueError(
                "`path` must be the folder of a SavedModel, with a file saved_model.pb. "
                f"Received: path={os.fspath(path)!r}."
            )
        self._loaded = tf.saved_model.load(os.fspath(path))  # it holds the variables
        if SIGNATURE not in self._loaded.signatures:
            raise ValueError(
                f"`path` must be a SavedModel with the signature {SIGNATURE!r}. "
                f"Received: path={os.fspath(path)!r} with {sorted(self._loaded.signatures)}."
            )
        self._function = self._loaded.signatures[SIGNATURE]
        self.inputs = _infos(self._function.structured_input_signature[1])
        self.outputs = _infos(self._function.structured_outputs)
        self.card = read_card(path)

    def _run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._function(**{name: tf.constant(array) for name, array in batch.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def _infos(specs) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(tuple(spec.shape), spec.dtype.name) for name, spec in sorted(specs.items())
    }
