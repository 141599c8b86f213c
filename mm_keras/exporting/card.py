"""The card of a written model: what goes in, what comes out, and where it comes from."""

import datetime
import importlib.metadata
import io
import json
import numbers
import os
import pathlib
import platform
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mm_keras import __version__
from mm_keras.data.decode.common import extra
from mm_keras.exporting.serving import Serving

NAME = "card.json"
KEY = "mm_keras_card"  # in the metadata of an ONNX file
EXTRA = pathlib.PurePath("assets.extra") / NAME  # where a SavedModel keeps what is not its own

Classes = Sequence[str] | Mapping[str, Sequence[str]]


def make_card(
    serving: Serving,
    format: str,
    preprocessing: bool | str,
    classes: Classes | None,
    metrics: Mapping[str, float] | None,
    training_data: Any,
) -> dict[str, Any]:
    """Returns the card, plain JSON values, after a check of what was given for it."""
    return {
        "name": serving.model.name,
        "format": format,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parameters": serving.model.count_params(),
        "preprocessing": preprocessing,
        "inputs": {
            name: {
                "shape": list(signature.shape),
                "dtype": signature.dtype.name,
                "units": _units(serving, name),
            }
            for name, signature in serving.inputs.items()
        },
        "modalities": {
            name: {"type": type(spec).__name__, **spec.get_config()}
            for name, spec in serving.modalities.items()
        },
        "outputs": {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype)}
            for name, tensor in serving.outputs.items()
        },
        "classes": _checked_classes(classes, serving.outputs),
        "metrics": _checked_metrics(metrics),
        "training_data": _checked_json("training_data", training_data),
        "versions": {
            "mm_keras": __version__,
            "keras": keras.__version__,
            "tensorflow": importlib.metadata.version("tensorflow"),
            "python": platform.python_version(),
        },
    }


def _units(serving: Serving, name: str) -> str:
    if name in serving.modalities:
        spec = serving.modalities[name]
        if name in serving.raw:
            return {"string": "text", "uint8": "pixels 0-255, any size"}.get(
                serving.inputs[name].dtype.name, f"{spec.units}, any length"
            )
        return spec.units
    modality = name.removesuffix("_present")
    return f"whether {modality} is there" if modality in serving.modalities else ""


def _checked_classes(classes: Classes | None, outputs: Mapping[str, Any]) -> dict[str, list[str]]:
    if classes is None:
        return {}
    if not isinstance(classes, Mapping):
        if len(outputs) != 1 and "label" not in outputs:
            raise ValueError(
                "`classes` must be a dict by the names of outputs for a model with several: "
                f"{sorted(outputs)}. Received: classes={classes!r}."
            )
        classes = {"label" if "label" in outputs else next(iter(outputs)): classes}
    for output, names in classes.items():
        if output not in outputs:
            raise ValueError(
                f"`classes` must be for outputs out of {sorted(outputs)}. Received: {output!r}."
            )
        if isinstance(names, str) or len(names) != outputs[output].shape[-1]:
            raise ValueError(
                f"`classes` must have {outputs[output].shape[-1]} names for the output {output!r}. "
                f"Received: {names!r}."
            )
    return {output: [str(name) for name in names] for output, names in classes.items()}


def _checked_metrics(metrics: Mapping[str, float] | None) -> dict[str, float]:
    metrics = {} if metrics is None else metrics
    if not isinstance(metrics, Mapping) or not all(
        isinstance(value, numbers.Real) for value in metrics.values()
    ):
        raise TypeError(
            "`metrics` must be {name: number}, e.g. what model.evaluate(…, return_dict=True) "
            f"returns. Received: metrics={metrics!r}."
        )
    return {str(name): float(value) for name, value in metrics.items()}


def _checked_json(argument: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{argument}` must be text, or what JSON can hold. Received: {argument}={value!r}."
        ) from error


def embed_card(path: pathlib.Path, format: str, card: Mapping[str, Any]) -> None:
    """Writes the card into the file or folder, so that it goes wherever that goes.

    It is `assets.extra/card.json` in a SavedModel, metadata of an ONNX file, and an entry
    `card.json` that `unzip` finds in a `.keras` file and, appended, in a `.tflite` file.
    """
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    if format == "saved_model":
        (path / EXTRA).parent.mkdir(exist_ok=True)
        (path / EXTRA).write_text(text, encoding="utf-8")
    elif format == "onnx":
        onnx = extra("onnx", "onnx")
        proto = onnx.load_model(path)
        proto.metadata_props.add(key=KEY, value=text)
        onnx.save_model(proto, path)
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(NAME, text)


def read_card(path: str | os.PathLike) -> dict[str, Any] | None:
    """Returns the card in a file or folder that `mm.export` wrote, or `None` if there is none.

    Args:
        path: Of a `.keras`, `.tflite` or `.onnx` file, or of the folder of a SavedModel.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        inside = path / EXTRA
        return json.loads(inside.read_text(encoding="utf-8")) if inside.is_file() else None
    if path.suffix == ".onnx":
        onnx = extra("onnx", "onnx")
        metadata = onnx.load_model(path, load_external_data=False).metadata_props
        texts = [entry.value for entry in metadata if entry.key == KEY]
        return json.loads(texts[-1]) if texts else None
    return card_in(path)


def card_in(file: pathlib.Path | bytes) -> dict[str, Any] | None:
    """Returns the card in a `.keras` or `.tflite` file, or in its bytes; `None`: there is none."""
    source = io.BytesIO(file) if isinstance(file, bytes) else file
    if not zipfile.is_zipfile(source):
        return None
    with zipfile.ZipFile(source) as archive:
        return json.loads(archive.read(NAME)) if NAME in archive.namelist() else None
