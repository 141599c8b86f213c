"""What a folder of TFRecords holds: `schema.json` beside the shards."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mm_keras import modalities as specs
from mm_keras._checks import PRESENT
from mm_keras.modalities import Modality

FILE = "schema.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Schema:
    """Form and place of the samples that `write_tfrecords` wrote.

    Args:
        modalities: `{name: spec}`.
        element: `{key: (shape, dtype)}` of what a record holds: `inputs/<name>`, `labels` or
            `labels/<head>`, `weights` or `weights/<head>`.
        shards: `{file name: (samples, bytes)}`.
        compression: `"GZIP"`, `"ZLIB"` or `None`.
        classes: Names of the classes, `{head: names}`, or `None`.
    """

    modalities: dict[str, Modality]
    element: dict[str, tuple[tuple[int, ...], str]]
    shards: dict[str, tuple[int, int]]
    compression: str | None = None
    classes: Any = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(samples for samples, _ in self.shards.values())

    def write(self, folder: pathlib.Path) -> None:
        """Writes `schema.json`."""
        text = {
            "format": FORMAT,
            "count": self.count,
            "compression": self.compression,
            "classes": self.classes,
            "element": {
                key: {"shape": list(shape), "dtype": dtype}
                for key, (shape, dtype) in self.element.items()
            },
            "shards": {
                name: {"samples": samples, "bytes": size}
                for name, (samples, size) in self.shards.items()
            },
            "modalities": {
                name: {"type": type(spec).__name__, "options": spec.outline().get_config()}
                for name, spec in self.modalities.items()
            },
        }
        (folder / FILE).write_text(
            json.dumps(text, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_schema(folder: str | os.PathLike) -> Schema:
    """Reads the schema of a folder that `write_tfrecords` wrote, and checks the shards' sizes.

    Raises:
        FileNotFoundError: If there is no schema, which is written last: or no folder, or a shard.
        ValueError: If a shard is shorter or longer than it was.
    """
    folder = pathlib.Path(folder)
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"`folder` must hold {FILE} of a finished `write_tfrecords`. Received: {folder}."
        )
    text = json.loads(path.read_text(encoding="utf-8"))
    if text.get("format") != FORMAT:
        raise ValueError(f"{path} must be of format {FORMAT}. Received: {text.get('format')!r}.")
    shards = {name: (part["samples"], part["bytes"]) for name, part in text["shards"].items()}
    for name, (_, size) in shards.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} must exist: {path} names it.")
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(
                f"{folder / name} must have {size} bytes, as when it was written. "
                f"Received: {found}."
            )
    return Schema(
        modalities={
            name: getattr(specs, part["type"]).from_config(part["options"])
            for name, part in text["modalities"].items()
        },
        element={
            key: (tuple(part["shape"]), part["dtype"]) for key, part in text["element"].items()
        },
        shards=shards,
        compression=text["compression"],
        classes=text["classes"],
    )


def flatten(element: tuple) -> dict[str, Any]:
    """Returns `{key: tensor}` of `(inputs, labels[, weights])`."""
    flat = {f"inputs/{name}": value for name, value in element[0].items()}
    for part, values in zip(("labels", "weights"), element[1:], strict=False):
        if isinstance(values, Mapping):
            flat.update({f"{part}/{head}": value for head, value in values.items()})
        else:
            flat[part] = values
    return flat


def unflatten(flat: Mapping[str, Any]) -> tuple:
    """Returns `(inputs, labels[, weights])` of `{key: tensor}`."""
    element = []
    for part in ("inputs", "labels", "weights"):
        nested = {k.split("/", 1)[1]: v for k, v in flat.items() if k.startswith(f"{part}/")}
        if part in flat or nested:
            element.append(flat.get(part, nested))
    return tuple(element)


def check_element(element_spec: Any, modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Returns `{key: TensorSpec}` of single samples that fit the specs, or raises."""
    if not isinstance(element_spec, tuple) or len(element_spec) not in (2, 3):
        raise ValueError(
            "`dataset` must give (inputs, labels) or (inputs, labels, sample_weight). "
            f"Received elements: {element_spec}."
        )
    expected = {name: spec.input_shape for name, spec in modalities.items()}
    expected |= {
        name + PRESENT: spec.presence_shape
        for name, spec in modalities.items()
        if spec.presence_shape is not None
    }
    inputs = element_spec[0]
    if not isinstance(inputs, Mapping) or set(inputs) != set(expected):
        raise ValueError(
            f"`dataset` must give the inputs {sorted(expected)}. "
            f"Received: {sorted(inputs) if isinstance(inputs, Mapping) else inputs}."
        )
    for name, shape in expected.items():
        if inputs[name].shape != tf.TensorShape(shape):
            raise ValueError(
                f"`dataset` must give single samples, {name!r} of the shape {shape}. "
                f"Received: {inputs[name].shape}; is it batched? Pass dataset.unbatch()."
            )
    flat = flatten(element_spec)
    for key, spec in flat.items():
        if spec.shape.rank is None or None in spec.shape or spec.dtype == tf.string:
            raise ValueError(
                f"`dataset` must give numbers of known shape. Received: {spec} for {key!r}."
            )
    return flat
