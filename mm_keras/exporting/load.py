"""One function that brings back what was written."""

import json
import os
import pathlib
import zipfile
from typing import Any

import keras

from mm_keras._checks import check_choice
from mm_keras._graphs import dtype_policy
from mm_keras.exporting.exported_model import ExportedModel
from mm_keras.exporting.litert import LiteRTModel
from mm_keras.exporting.onnx_model import ONNXModel
from mm_keras.exporting.saved_model import SavedModel

CODE = {"__lambda__", "TFSMLayer", "TorchModuleWrapper"}  # what Keras' safe mode guards against
READERS = {".tflite": LiteRTModel, ".onnx": ONNXModel}


def load(path: str | os.PathLike) -> keras.Model | ExportedModel:
    """Returns the model in a file or folder; each has `predict` from dict to dict by names.

    A `.keras` file becomes a `keras.Model` again. One in `mixed_float16` goes on with the scale of
    its loss and the state of its optimizer, which `keras.saving.load_model` drops unless that is
    the process's policy. A file that holds code, as a Lambda layer does, is refused, also after
    `keras.config.enable_unsafe_deserialization()`. A SavedModel is a program, which TensorFlow runs
    when it predicts: load only those that you trust.

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
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"`path` must be a .keras file that is whole. Received: path={path}: {error}"
        ) from error
    # Keras refuses code in safe mode; but a setting of the process goes before the argument.
    code = sorted(_class_names(config) & CODE)
    if code:
        raise ValueError(
            "`path` must be a .keras file without code of its own, which would run here. Who "
            "trusts it can load it with keras.saving.load_model(path, safe_mode=False). "
            f"Received: path={path}, which has {code}."
        )
    try:
        # Keras gives the graph the process's policy, and by it scales the loss: without, not even
        # the state of the optimizer that is in the file would fit.
        with dtype_policy(_mixed_policy(config)):
            return keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`path` must be a .keras file whose classes are known here: import what defines them. "
            f"Received: path={path}. Keras says: {error}"
        ) from error


def _mixed_policy(config: Any) -> str | None:
    """Returns the mixed policy of layers in the configuration of a model, if there is one."""
    if isinstance(config, dict):
        found = config.get("config") if config.get("class_name") == "DTypePolicy" else None
        if found and found["name"].startswith("mixed_"):
            return found["name"]
        config = list(config.values())
    parts = config if isinstance(config, list) else []
    return next(filter(None, map(_mixed_policy, parts)), None)


def _class_names(config: Any) -> set[str]:
    """Returns the names of all classes in the configuration of a model."""
    if isinstance(config, list):
        return set().union(*map(_class_names, config))
    if not isinstance(config, dict):
        return set()
    names = set().union(*map(_class_names, config.values()))
    name = config.get("class_name")
    return names | {name} if isinstance(name, str) else names
