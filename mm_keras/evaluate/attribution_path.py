"""The way from baselines to samples, along which gradients are integrated."""

import dataclasses

import keras
import numpy as np
from keras import ops

from mm_keras.evaluate.explained import Explained, Step, cleared
from mm_keras.evaluate.gradients import gradients
from mm_keras.evaluate.origin import origins_in
from mm_keras.evaluate.samples import Arrays
from mm_keras.layers import ColumnEmbedding, HashedWide, LogMelSpectrogram
from mm_keras.modalities import Tabular


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a modality is attributed, other than at its input.

    Args:
        step: The call whose output moves along the path.
        columns: How many columns, from the first on, move with the input rather than here.
        crosses: Whether it is the wide part of a table.
    """

    step: Step
    columns: int = 0
    crosses: bool = False


def places_of(explained: Explained, name: str) -> list[Place]:
    """Returns where a modality is attributed; none: at the input."""
    steps = [step for step in explained.steps if _sees_only(step, name)]
    spec = explained.specs.get(name)
    if isinstance(spec, Tabular):
        return [
            Place(step, len(spec.numeric), isinstance(step.op, HashedWide))
            for step in steps
            if isinstance(step.op, ColumnEmbedding | HashedWide)
        ]
    spectrograms = [step for step in steps if isinstance(step.op, LogMelSpectrogram)]
    if spectrograms:
        return [Place(step) for step in spectrograms]
    tensor = explained.model.input[name]
    if keras.backend.is_float_dtype(tensor.dtype):
        return []
    places = [Place(step) for step in steps if _embeds(step, tuple(tensor.shape))]
    if not places:
        raise ValueError(
            "`modalities` must be numbers that have a gradient, or go through an embedding. "
            f"Received: {name!r}, of type {tensor.dtype}."
        )
    return places


def _sees_only(step: Step, name: str) -> bool:
    origins = origins_in(step.origins)
    return bool(origins) and all(origin.names == {name} for origin in origins)


def _embeds(step: Step, shape: tuple[int | None, ...]) -> bool:
    """Returns whether a call makes floats of integers `shape`, a vector or number of each."""
    tensor = step.outputs
    given = [origin.dtype for origin in origins_in((step.args, step.kwargs))]
    is_float = keras.backend.is_float_dtype
    return (
        isinstance(tensor, keras.KerasTensor)
        and is_float(tensor.dtype)
        and tuple(tensor.shape[: len(shape)]) == shape
        and any("int" in dtype for dtype in given)  # of a mask nothing is made that could move
        and not any(map(is_float, given))
    )


class Path:
    """The straight line from the baselines to the samples of a batch.

    Args:
        explained: The model.
        places: `{modality: where it is attributed}`, of those that move.
        changes: Of the model, throughout.
        batch: `{name: (B, …)}`.
        given: `{modality: (B, …)}`: baselines that are no zeros.
        classes: `(B,)`.
    """

    def __init__(self, explained, places, changes, batch, given, classes):
        self.explained, self.places, self.changes = explained, places, changes
        self.batch, self.classes = batch, classes
        self.moving = [place for group in places.values() for place in group]
        self.ends, self.lengths = {}, {}  # of inputs that move, float32
        for name in places:
            self._enter(name, given.get(name))
        here = self._look(batch)
        there = self._look({**batch, **given})
        self.steps = []  # at the places, float32
        for name, group in places.items():
            for place in group:
                start = there[place.step.key] if name in given else 0.0
                step = np.array(here[place.step.key] - start)
                if not place.crosses:
                    step[:, : place.columns] = 0.0
                self.steps.append(step)

    def _enter(self, name, given):
        """Sets end and length of the way of an input, of what moves in it."""
        spec = self.explained.specs.get(name)
        if self.places[name] and not isinstance(spec, Tabular):
            return
        end = cleared(self.batch, name).astype("float32")
        start = np.zeros_like(end) if given is None else given.astype("float32")
        if isinstance(spec, Tabular):
            numeric = len(spec.numeric)
            if given is None and spec.mean:
                start[:, :numeric] = spec.mean
            start[:, numeric:] = end[:, numeric:]
        self.ends[name], self.lengths[name] = end, cleared(self.batch, name, end - start)

    def _look(self, inputs: Arrays) -> dict:
        """Returns what the places give, in float32."""
        found = {}

        def watch(place):
            def call(op, args, kwargs):
                x = op.look_up(args[0]) if place.crosses else op(*args, **kwargs)
                found[place.step.key] = ops.convert_to_numpy(ops.cast(x, "float32"))
                return ops.cast(ops.sum(x, axis=1), op.compute_dtype) if place.crosses else x

            return call

        if self.moving:
            self.explained.run(inputs, {place.step.key: watch(place) for place in self.moving})
        return found

    def value(self, alpha: float) -> np.ndarray:
        """Returns `(B,)`: the output of the classes at a point of the path."""
        tensors = [ops.convert_to_tensor(x) for x in self._at(np.array([alpha]))]
        return ops.convert_to_numpy(self._outputs(tensors, 1)).astype("float64")

    def attribute(self, points: int, batch_size: int) -> Arrays:
        """Returns `{modality: (B, …)}` from the gradients at so many points."""
        alphas = (np.arange(points) + 0.5) / points
        at_once = max(1, batch_size // len(self.classes))
        lengths = [*self.lengths.values(), *self.steps]
        totals = [np.zeros(length.shape) for length in lengths]
        for first in range(0, points, at_once):
            some = alphas[first : first + at_once]
            count = len(some)

            def value(tensors, count=count):
                return ops.sum(self._outputs(tensors, count)), ()

            _, slopes = gradients(value, self._at(some))
            for total, slope in zip(totals, slopes, strict=True):
                total += slope.reshape(count, *total.shape).sum(axis=0)
        parts = [length * total / points for length, total in zip(lengths, totals, strict=True)]
        return self._by_modality(parts)

    def _at(self, alphas: np.ndarray) -> list[np.ndarray]:
        """Returns inputs, and what is added at the places, of every sample at every point."""
        left = alphas - 1.0
        inputs = [end + _times(left, self.lengths[name]) for name, end in self.ends.items()]
        arrays = [*inputs, *(_times(left, step) for step in self.steps)]
        return [x.reshape(-1, *x.shape[2:]).astype("float32") for x in arrays]

    def _outputs(self, tensors: list, count: int):
        """Returns `(count · B,)` of what `_at` gave."""
        inputs = {name: np.concatenate([x] * count) for name, x in self.batch.items()}
        inputs |= dict(zip(self.ends, tensors, strict=False))
        added = zip(self.moving, tensors[len(self.ends) :], strict=True)
        changes = {place.step.key: _adding(place, x) for place, x in added}
        classes = np.tile(self.classes, count)
        return self.explained.score(inputs, classes, {**self.changes, **changes})

    def _by_modality(self, parts: list[np.ndarray]) -> Arrays:
        found = dict(zip(self.ends, parts, strict=False))
        rest = iter(parts[len(self.ends) :])
        for name, group in self.places.items():
            spec, shape = self.explained.specs.get(name), self.batch[name].shape
            for place in group:
                part = next(rest)
                if isinstance(place.step.op, LogMelSpectrogram):
                    part = part[..., 0]
                elif part.ndim > len(shape):
                    part = part.sum(axis=tuple(range(len(shape), part.ndim)))
                if isinstance(spec, Tabular):
                    start = shape[1] - part.shape[1] if place.crosses else 0
                    whole = np.zeros(shape)
                    whole[:, start : start + part.shape[1]] = part
                    part = whole
                found[name] = found.get(name, 0.0) + part
            found[name] = cleared(self.batch, name, found[name]).astype("float32")
        return found


def _times(alphas: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Returns `(points, B, …)`."""
    return alphas.reshape(-1, *[1] * length.ndim) * length


def _adding(place: Place, moved):
    def call(op, args, kwargs):
        if place.crosses:
            rows = op.look_up(args[0])
            return ops.cast(ops.sum(rows + ops.cast(moved, rows.dtype), axis=1), op.compute_dtype)
        x = op(*args, **kwargs)
        return x + ops.cast(moved, x.dtype)

    return call
