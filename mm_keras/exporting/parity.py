"""Whether a written file gives what the model gives, seen from a fresh process."""

import itertools
import math
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT
from mm_keras._graphs import all_layers
from mm_keras.exporting import parity_child
from mm_keras.exporting.serving import Serving
from mm_keras.modalities import Audio, Image, Tabular, Text, Video, Views

SAMPLES = 8
MOST_PATTERNS = 32
TAIL = 8  # lines of the child's last words
REDUCED_PRECISION = 2e-2


class ParityError(ValueError):
    """Raised when a written file does not give what the model gives; the file is not kept."""


def check_parity(
    serving: Serving, path: pathlib.Path, format: str, tolerance: float, seed: int = 0
) -> None:
    """Predicts random samples with the file, in a fresh process, and with the model.

    The samples have every pattern of present modalities, or 32 random ones of more; they are
    predicted together, and the first of them once more alone.

    Args:
        serving: What was written.
        path: Of the file or folder.
        format: One of `FORMATS`.
        tolerance: Greatest difference, relative to an output's greatest number.
        seed: Of the samples.

    Raises:
        ParityError: If the file can't be loaded, or an output differs.
    """
    inputs = random_inputs(serving, seed)
    batches = [inputs, {name: array[:1] for name, array in inputs.items()}]
    found = _predict_in_child(serving, path, format, batches)
    if reduced_precision(serving.model):
        tolerance = max(tolerance, REDUCED_PRECISION)
    for batch, outputs in zip(batches, found, strict=True):
        with tf.device("CPU:0"):
            expected = serving({name: _tensor(array) for name, array in batch.items()})
        for name, value in expected.items():
            _compare(name, keras.ops.convert_to_numpy(value), outputs.get(name), format, tolerance)


def _compare(name, expected, found, format, tolerance) -> None:
    if found is None or found.shape != expected.shape:
        shape = None if found is None else found.shape
        raise ParityError(
            f"The {format!r} file must have an output {name!r} of shape {expected.shape}. "
            f"It has: {shape}. It was not kept."
        )
    expected, found = expected.astype("float64"), found.astype("float64")
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0.0)
    same = np.array_equal(expected[~finite], found[~finite], equal_nan=True)
    difference = np.abs(expected[finite] - found[finite]).max(initial=0.0)
    if not same or not difference <= tolerance * scale + 1e-6:
        raise ParityError(
            f"The {format!r} file must give what the model gives. Output {name!r} differs by "
            f"{difference:.3g}, where outputs reach {scale:.3g} and {tolerance:g} of that is "
            "allowed. It was not kept; check=False would keep it."
        )


def _tensor(array: np.ndarray) -> Any:
    if keras.config.backend() != "tensorflow":
        return array
    return tf.constant(array.astype(object) if array.dtype.kind == "U" else array)


def _predict_in_child(serving, path, format, batches) -> list[dict[str, np.ndarray]]:
    """Returns the file's outputs of each batch."""
    with tempfile.TemporaryDirectory() as folder:
        for index, batch in enumerate(batches):
            np.savez(pathlib.Path(folder) / f"inputs_{index}.npz", **batch)
        # -P: the child's own folder must not be searched for modules.
        command = [sys.executable, "-P", parity_child.__file__, format, str(path), folder]
        done = subprocess.run(
            command + sorted(foreign_modules(serving.model)),
            env=os.environ
            | {
                "CUDA_VISIBLE_DEVICES": "-1",  # the parent may hold all of its memory
                "KERAS_BACKEND": keras.config.backend(),
                "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-TAIL:])
            raise ParityError(
                f"The {format!r} file must load and predict in a process of its own. It was not "
                f"kept; check=False would keep it. The process said:\n{last}"
            )
        results = []
        for index in range(len(batches)):
            with np.load(pathlib.Path(folder) / f"outputs_{index}.npz") as arrays:
                results.append(dict(arrays))
        return results


def reduced_precision(model: keras.Model) -> list[str]:
    """Returns the layers that compute in half precision."""
    reduced = ("float16", "bfloat16")
    return [layer.name for layer in all_layers(model) if layer.compute_dtype in reduced]


def foreign_modules(model: keras.Model) -> dict[str, list[str]]:
    """Returns `{module: layers}` of the layers that neither Keras nor this package defines."""
    modules: dict[str, list[str]] = {}
    for layer in all_layers(model):
        module = type(layer).__module__
        if module.split(".")[0] not in ("keras", "mm_keras"):
            modules.setdefault(module, []).append(layer.name)
    return modules


def random_inputs(serving: Serving, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns `{name: array}` of random samples in the units of each modality."""
    rng = np.random.default_rng(seed)
    presence = {
        name: signature.shape[1]
        for name, signature in serving.inputs.items()
        if name.endswith(PRESENT) and name.removesuffix(PRESENT) in serving.modalities
    }
    patterns = presence_patterns(sum(presence.values()), rng)
    count = math.ceil(SAMPLES / len(patterns)) * len(patterns)
    patterns = np.resize(patterns, (count, patterns.shape[1]))
    inputs = {}
    for name, signature in serving.inputs.items():
        if name in presence:
            inputs[name], patterns = np.split(patterns, [presence[name]], axis=1)
        else:
            spec = serving.modalities.get(name)
            inputs[name] = _random(rng, spec, signature, count, name in serving.raw)
    return inputs


def presence_patterns(width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns every row of `width` bools, or random ones where that were too many."""
    if 2**width <= MOST_PATTERNS:
        rows = list(itertools.product([True, False], repeat=width))
        return np.array(rows, "bool").reshape(2**width, width)
    return rng.random((MOST_PATTERNS, width)) < 0.5


def _random(rng, spec: Any, signature: tf.TensorSpec, count: int, raw: bool) -> np.ndarray:
    shape = (count, *signature.shape[1:])
    if signature.dtype == tf.string:
        words = [*spec.vocabulary[:100], "unheard-of"]
        return np.array([" ".join(rng.choice(words, 5)) for _ in range(count)])
    if isinstance(spec, Image | Views | Video):
        if raw:  # another size than the model's
            *several, height, width, channels = spec.input_shape
            shape = (count, *several, height + 3, 2 * width, channels)
        pixels = rng.integers(0, 256, shape)
        return pixels.astype(signature.dtype.as_numpy_dtype)
    if isinstance(spec, Audio):
        if raw:
            shape = (count, max(1, 3 * spec.samples // 4))
        return rng.uniform(-1, 1, shape).astype("float32")
    if isinstance(spec, Text):
        return rng.integers(0, spec.vocabulary_size, shape).astype("int32")
    if isinstance(spec, Tabular):
        numbers = rng.normal(
            np.array(spec.mean or [0.0] * len(spec.numeric)),
            np.sqrt(np.array(spec.variance or [1.0] * len(spec.numeric))),
            (count, len(spec.numeric)),
        )
        sizes = [*spec.vocabulary_sizes, *[spec.wide_buckets] * len(spec.wide)]
        ids = rng.integers(0, np.array(sizes, "int64"), (count, len(sizes)))
        return np.concatenate([numbers, ids], axis=1).astype("float32")
    shape = tuple(4 if size is None else size for size in shape)
    if signature.dtype.is_floating:
        return rng.normal(size=shape).astype(signature.dtype.as_numpy_dtype)
    return rng.integers(0, 2, shape).astype(signature.dtype.as_numpy_dtype)
