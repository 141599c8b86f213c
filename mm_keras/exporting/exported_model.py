"""What every written model but a `.keras` file becomes when it is loaded: inputs, and `predict`."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_keras._checks import check_int, nearest

STRING = "string"


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a written model.

    Args:
        shape: With the batch axis first; `None` for a size that may vary.
        dtype: Name of the NumPy type, or `"string"`.
        scale: Of quantized integers: what is given or returned is `(integer - zero_point) * scale`.
            0: not quantized.
        zero_point: See `scale`.
    """

    shape: tuple[int | None, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


class ExportedModel(abc.ABC):
    """A model that was read from a file, with the `predict` of a `keras.Model`.

    Subclasses set `inputs` and `outputs`, `{name: TensorInfo}`, and run one batch.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    card: dict[str, Any] | None = None

    def predict(
        self, inputs: Mapping[str, Any], batch_size: int = 32, verbose: Any = 0
    ) -> dict[str, np.ndarray]:
        """Returns `{output: array}`.

        Args:
            inputs: `{input: array}`, by the names of modalities; a modality that may be missing
                has a second input `<name>_present`, `(B, 1)` bool. Numbers of another type are
                converted where nothing is lost.
            batch_size: Most samples in a batch. A file with a batch of fixed size runs that.
            verbose: Taken so that one call fits every model; there is no progress bar.

        Raises:
            TypeError: If `inputs` is no dict, or an array has a type that does not fit.
            ValueError: If a name is missing or unknown, or an array has the wrong shape.
        """
        check_int("batch_size", batch_size)
        arrays = self._checked(inputs)
        size = len(next(iter(arrays.values())))
        fixed = {info.shape[0] for info in self.inputs.values()} - {None}
        batch_size = min(fixed) if fixed else batch_size
        parts = []
        for start in range(0, size, batch_size):
            batch = {name: array[start : start + batch_size] for name, array in arrays.items()}
            count = min(batch_size, size - start)
            if fixed and count < batch_size:
                batch = {name: _padded(array, batch_size) for name, array in batch.items()}
            part = self._run({n: _to_file(n, x, self.inputs[n]) for n, x in batch.items()})
            parts.append({name: array[:count] for name, array in part.items()})
        return {
            name: _from_file(np.concatenate([part[name] for part in parts]), info)
            for name, info in self.outputs.items()
        }

    @abc.abstractmethod
    def _run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of one batch, whose arrays have the shapes and types of `inputs`."""

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not isinstance(inputs, Mapping):
            raise TypeError(
                f"`inputs` must be a dict of arrays by the names {sorted(self.inputs)}. "
                f"Received: an object of type {type(inputs).__name__}."
            )
        unknown = sorted(set(inputs) - set(self.inputs))
        missing = sorted(set(self.inputs) - set(inputs))
        if missing or unknown:
            hint = nearest(unknown[0], missing or self.inputs) if unknown else ""
            raise ValueError(
                f"`inputs` must have arrays for {sorted(self.inputs)}.{hint} "
                f"Missing: {missing}. Unknown: {unknown}."
            )
        arrays = {}
        for name, info in self.inputs.items():
            array = arrays[name] = np.asarray(inputs[name])
            fits = array.ndim == len(info.shape) and all(
                want is None or want == have
                for want, have in zip(info.shape[1:], array.shape[1:], strict=True)
            )
            if not fits:
                raise ValueError(
                    f"`inputs[{name!r}]` must have the shape {(None, *info.shape[1:])}. "
                    f"Received: an array of shape {array.shape}."
                )
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) != 1 or not next(iter(sizes.values())):
            raise ValueError(
                f"`inputs` must have one number of samples, at least 1. Received: {sizes}."
            )
        return arrays


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeats the last sample until there are `size`."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])


def _to_file(name: str, array: np.ndarray, info: TensorInfo) -> np.ndarray:
    """Returns an array of the type that the file wants, or raises where something would be lost."""
    if info.dtype == STRING:
        if array.dtype.kind not in "OSU":
            raise TypeError(f"`inputs[{name!r}]` must be strings. Received: {array.dtype} numbers.")
        return array.astype(object)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`inputs[{name!r}]` must be numbers that fit {info.dtype}. "
            f"Received: an array of type {array.dtype}."
        )
    dtype = np.dtype(info.dtype)
    if array.dtype == dtype and not _rescales(info):
        return np.ascontiguousarray(array)
    if info.scale:
        limits = np.iinfo(dtype)
        integers = np.round(array.astype("float32") / info.scale) + info.zero_point
        with np.errstate(invalid="ignore"):  # an absent sample may hold NaN
            return np.clip(integers, limits.min, limits.max).astype(dtype)
    if dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=dtype)
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if not np.array_equal(converted, array):
        raise TypeError(
            f"`inputs[{name!r}]` must be numbers that {info.dtype} holds exactly. "
            f"Received: {array.dtype} numbers from {array.min()} to {array.max()}."
        )
    return converted


def _rescales(info: TensorInfo) -> bool:
    """Whether the file's integers differ from the numbers they stand for."""
    return bool(info.scale) and (info.scale, info.zero_point) != (1.0, 0)


def _from_file(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    if not info.scale:
        return array
    return (array.astype("float32") - info.zero_point) * np.float32(info.scale)
