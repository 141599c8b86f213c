"""One function that brings back what was written."""

import os
import pathlib

import keras

from mm_keras._checks import check_choice
from mm_keras.exporting.exported_model import ExportedModel
from mm_keras.exporting.litert import LiteRTModel
from mm_keras.exporting.onnx_model import ONNXModel
from mm_keras.exporting.saved_model import SavedModel

READERS = {".tflite": LiteRTModel, ".onnx": ONNXModel}


def load(path: str | os.PathLike) -> keras.Model | ExportedModel:
    """Returns the model in a file or folder; each has `predict` from dict to dict by names.

    A `.keras` file becomes a `keras.Model` again; it is loaded in Keras' safe mode, so that no code
    in it runs. A SavedModel is a program, which TensorFlow runs when it predicts: load only those
    that you trust.

    Args:
        path: Of a `.keras`, `.tflite` or `.onnx` file, or of the folder of a SavedModel.

    Raises:
        OSError: If nothing is there.
        ValueError: If it is none of these, is broken, or holds code.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> path = mm.export(model, tempfile.mkdtemp() + "/m.tflite", format="litert", check=False)
    >>> mm.load(path).predict({"a": np.ones((5, 4)), "b": np.ones((5, 3))})["label"].shape
    (5, 2)
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`path` must name a file or folder. Received: path={path}.")
    if path.is_dir():
        return SavedModel(path)
    if path.suffix == ".keras":
        return _load_keras(path)
    check_choice("path, by its ending,", path.suffix, [".keras", *READERS])
    return READERS[path.suffix](path)


def _load_keras(path: pathlib.Path) -> keras.Model:
    try:
        # `None` would let a setting of the process turn it off.
        return keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError) as error:
        reason = str(error)
        if "lambda" in reason.lower() or "unsafe" in reason.lower():
            raise ValueError(
                "`path` must be a .keras file without code of its own, such as a Lambda layer "
                f"holds: it would run here. Received: path={path}. Who trusts it can load it with "
                f"keras.saving.load_model(path, safe_mode=False). Keras says: {reason}"
            ) from error
        raise ValueError(
            f"`path` must be a .keras file whose classes are known here: import what defines them "
            f"first. Received: path={path}. Keras says: {reason}"
        ) from error
