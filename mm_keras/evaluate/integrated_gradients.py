"""How much each pixel, word or column contributed to a prediction."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_bool, check_int
from mm_keras.evaluate.explained import Explained, Step, cleared, origins_in
from mm_keras.evaluate.gradients import gradients
from mm_keras.evaluate.samples import Arrays
from mm_keras.layers import ColumnEmbedding, HashedWide, LogMelSpectrogram
from mm_keras.modalities import Tabular

ZEROS = "zeros"


class Attributions(NamedTuple):
    """What each part of the modalities contributed; their sum is `whole − without − gap`.

    Args:
        values: `{modality: (n, …)}`, of the modality's shape; of texts `(n, tokens)`, of tables
            `(n, columns)`, of sound `(n, T, mel)`, as the spectrogram is.
        whole: `(n,)`: what was explained, as the model predicts it.
        without: `(n,)`: the same with the baselines in place of the modalities.
        classes: `(n,)`: the class whose output was explained.
    """

    values: dict[str, np.ndarray]
    whole: np.ndarray
    without: np.ndarray
    classes: np.ndarray

    @property
    def totals(self) -> dict[str, np.ndarray]:
        """`{modality: (n,)}`: the sum over all of its parts."""
        return {
            name: value.reshape(len(value), -1).sum(axis=1) for name, value in self.values.items()
        }

    @property
    def gap(self) -> np.ndarray:
        """`(n,)`: what is missing from completeness; more steps make it smaller."""
        return self.whole - self.without - sum(self.totals.values())


def integrated_gradients(
    model: keras.Model,
    inputs: Any,
    modalities: str | Sequence[str] | None = None,
    head: str = "label",
    target: str | int | np.ndarray = "predicted",
    baseline: str | Mapping[str, Any] = ZEROS,
    steps: int = 32,
    logits: bool = False,
    batch_size: int = 64,
) -> Attributions:
    """Divides a prediction among the pixels, frames, words and columns of its modalities.

    `(x − b) · ∫ ∂f(b + α (x − b)) / ∂x dα` over α from 0 to 1, b the baseline, along one path on
    which all the modalities move together, by the midpoint rule. So the attributions of all
    modalities sum to `f(x) − f(b)`, up to a gap that shrinks with `steps`. An absent modality, and
    padding of a text, get exactly 0.

    Pictures, videos, views and features are attributed at the input; texts at the embeddings of
    their words, numbers being no direction to go in; of a table, numbers at the input and
    categories at their embeddings; sound at the log-mel spectrogram, which a softer waveform leaves
    as it is. What a model reads off ids otherwise, the mask of a text, stays that of the sample.

    Args:
        model: A functional model, from a builder or made by hand.
        inputs: `{name: (n, …)}`; an array, of a model with one input; or batches of either.
        modalities: Name, or names, of those that move from the baseline to the sample; the others
            stay as they are. `None`: all.
        head: Name of the output, `(B, C)`; `"output"` if the model's has no name.
        target: The class that is explained: `"predicted"`, a number, or numbers `(n,)`.
        baseline: b: `"zeros"`, where the modality is attributed: black pixels, embeddings of
            nothing, mean columns, a spectrogram without anything above its floor. Or `{modality:
            value}`, zeros for those it leaves out: a number for every entry, one sample, or one
            for each of the n, all as the input is.
        steps: Points on the path, at least 1.
        logits: Whether the output before the activation of the head is explained: it needs fewer
            steps than a softmax that saturates.
        batch_size: Samples times points that are computed at once.

    Raises:
        ValueError: If there is no such modality, head or class, or a baseline doesn't fit.
        TypeError: If the model is not functional.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(6), "b": mm.Features(4)}, 3)
    >>> inputs = {"a": np.random.normal(size=(5, 6)), "b": np.random.normal(size=(5, 4))}
    >>> found = mm.evaluate.integrated_gradients(model, inputs, steps=64)
    >>> {name: value.shape for name, value in found.values.items()}
    {'a': (5, 6), 'b': (5, 4)}
    >>> bool(np.all(np.abs(found.gap) < 0.01))
    True

    Reference: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017.
    """
    explained = Explained(model, head)
    chosen = _check_modalities(explained, modalities)
    check_int("steps", steps)
    check_bool("logits", logits)
    baselines = _check_baseline(explained, baseline, chosen)
    places = {name: _places(explained, name) for name in chosen}
    changes = explained.before_activation() if logits else {}

    def explain(batch: Arrays, start: int) -> Arrays:
        classes = explained.classes(batch, target, start)
        given = {name: _slice(name, x, batch, start) for name, x in baselines.items()}
        path = _Path(explained, places, changes, batch, given, classes)
        return {
            **path.attribute(steps, batch_size),
            "_whole": path.value(1.0),
            "_without": path.value(0.0),
            "_classes": classes,
        }

    found = explained.collect(inputs, batch_size, explain)
    _check_lengths(baselines, explained, len(found["_classes"]))
    values = {name: found[name] for name in chosen}
    return Attributions(values, found["_whole"], found["_without"], found["_classes"])


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a modality is attributed, other than at its input.

    Args:
        step: The call whose output moves along the path.
        columns: How many columns, from the first on, move with the input rather than here.
        crosses: Whether it is the wide part of a table.
    """

    step: Step
    columns: int = 0
    crosses: bool = False


def _places(explained: Explained, name: str) -> list[_Place]:
    """Returns where a modality is attributed; none: at the input."""
    steps = [step for step in explained.steps if _sees_only(step, name)]
    spec = explained.specs.get(name)
    if isinstance(spec, Tabular):
        return [
            _Place(step, len(spec.numeric), isinstance(step.op, HashedWide))
            for step in steps
            if isinstance(step.op, ColumnEmbedding | HashedWide)
        ]
    spectrograms = [step for step in steps if isinstance(step.op, LogMelSpectrogram)]
    if spectrograms:
        return [_Place(step) for step in spectrograms]
    tensor = explained.model.input[name]
    if keras.backend.is_float_dtype(tensor.dtype):
        return []
    places = [_Place(step) for step in steps if _embeds(step, tuple(tensor.shape))]
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
        and not any(map(is_float, given))
    )


class _Path:
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


def _adding(place: _Place, moved):
    def call(op, args, kwargs):
        if place.crosses:
            rows = op.look_up(args[0])
            return ops.cast(ops.sum(rows + ops.cast(moved, rows.dtype), axis=1), op.compute_dtype)
        x = op(*args, **kwargs)
        return x + ops.cast(moved, x.dtype)

    return call


def _check_modalities(explained: Explained, modalities) -> list[str]:
    names = explained.names if modalities is None else modalities
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        explained.check_modality("modalities", name)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`modalities` must be one name or more, each once, or None for all. "
            f"Received: modalities={modalities!r}."
        )
    return names


def _check_baseline(explained: Explained, baseline, chosen: list[str]) -> dict[str, np.ndarray]:
    if isinstance(baseline, str) and baseline == ZEROS:
        return {}
    if not isinstance(baseline, Mapping):
        raise ValueError(
            "`baseline` must be 'zeros', or {modality: a number, a sample, or one for each sample}"
            f". Received: baseline={baseline!r}."
        )
    arrays = {}
    for name, value in baseline.items():
        if name not in chosen:
            raise ValueError(
                f"`baseline` must name modalities that are attributed, {chosen}. "
                f"Received: {name!r}."
            )
        arrays[name] = np.asarray(value)
        shape = tuple(explained.model.input[name].shape)
        if arrays[name].shape not in ((), shape[1:]) and arrays[name].shape[1:] != shape[1:]:
            raise ValueError(
                f"`baseline[{name!r}]` must be a number, or of shape {shape[1:]}, or with one such "
                f"for each sample. Received shape: {arrays[name].shape}."
            )
    return arrays


def _slice(name: str, value: np.ndarray, batch: Arrays, start: int) -> np.ndarray:
    """Returns a baseline `(B, …)` of a batch."""
    like = batch[name]
    own = value[start : start + len(like)] if value.ndim == like.ndim else value
    if value.ndim == like.ndim and len(own) != len(like):
        raise ValueError(
            f"`baseline[{name!r}]` must have as many samples as the inputs. "
            f"Received: {len(value)} samples."
        )
    return cleared(batch, name, np.broadcast_to(own, like.shape))


def _check_lengths(baselines: Mapping[str, np.ndarray], explained: Explained, count: int) -> None:
    for name, value in baselines.items():
        if value.ndim == len(explained.model.input[name].shape) and len(value) != count:
            raise ValueError(
                f"`baseline[{name!r}]` must have as many samples as the inputs, {count}. "
                f"Received: {len(value)} samples."
            )
