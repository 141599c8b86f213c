"""How much each pixel, word or column contributed to a prediction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from mm_keras._checks import check_bool, check_int
from mm_keras.evaluate.attribution_path import Path, places_of
from mm_keras.evaluate.explained import Explained, cleared
from mm_keras.evaluate.samples import Arrays

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
    places = {name: places_of(explained, name) for name in chosen}
    changes = explained.before_activation() if logits else {}

    def explain(batch: Arrays, start: int) -> Arrays:
        classes = explained.classes(batch, target, start)
        given = {name: _slice(name, x, batch, start) for name, x in baselines.items()}
        path = Path(explained, places, changes, batch, given, classes)
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
