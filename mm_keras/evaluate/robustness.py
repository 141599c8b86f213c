"""How a model fares when one of its modalities goes bad."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from mm_keras._checks import check_choice, check_number
from mm_keras.evaluate.corruptions import CORRUPTIONS, Corruption
from mm_keras.evaluate.samples import (
    Data,
    Metric,
    batches_of,
    check_head,
    labels_of,
    metric_of,
    predict,
)
from mm_keras.models import modalities_of


class RobustnessCurve(NamedTuple):
    """A metric over the severity of one corruption of one modality.

    Args:
        modality: Name of the modality.
        corruption: Name of the corruption.
        severities: Rising, from 0.
        values: Of the metric.
    """

    modality: str
    corruption: str
    severities: tuple[float, ...]
    values: tuple[float, ...]


def robustness_curves(
    model: keras.Model,
    data: Data,
    corruptions: Mapping[str, Mapping[str, Corruption]] | None = None,
    severities: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    head: str = "label",
    metric: Metric = "accuracy",
    seed: int = 0,
    batch_size: int = 32,
) -> list[RobustnessCurve]:
    """Measures a model while one modality at a time is corrupted, more and more.

    The same seed gives the same corrupted samples, for one model and for another: compare curves of
    models on the same data with the same batches.

    Args:
        model: With a dict of inputs and outputs.
        data: Batches of `({name: …}, labels)`, or one such tuple of whole arrays.
        corruptions: `{modality: {name: function of (batch, severity, generator)}}`. `None`: those
            of `mm.evaluate.CORRUPTIONS` for each modality's kind: noise, blur and crop of images,
            video and views; noise, dropout and shift of sound; typos and omissions of text; swaps
            between samples of tables; noise and swaps of features.
        severities: From 0, the data as they are, to 1, rising.
        head: Name of the output.
        metric: `"accuracy"`, or a function of labels `(n, …)` and outputs `(n, …)`.
        seed: Of the corruptions.
        batch_size: Of whole arrays.

    Raises:
        ValueError: If severities don't rise from 0, a modality is unknown, or data don't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2)
    >>> data = {"a": np.random.rand(8, 4)}, np.arange(8) % 2
    >>> curves = mm.evaluate.robustness_curves(model, data, severities=(0.0, 1.0))
    >>> [(curve.modality, curve.corruption, len(curve.values)) for curve in curves]
    [('a', 'noise', 2), ('a', 'swaps', 2)]

    Reference: Hendrycks & Dietterich, Benchmarking Robustness to Common Corruptions, 2019; Liang et
    al., MultiBench, 2021.
    """
    check_head(model, head)
    severities = _check_severities(severities)
    corruptions = _check_corruptions(model, corruptions)
    measure = metric_of(metric)
    cases = [(m, name) for m, functions in corruptions.items() for name in functions]
    outputs = {(case, severity): [] for case in cases for severity in severities}
    labels, clean = [], []
    for number, batch in enumerate(batches_of(model, data, batch_size)):
        inputs = batch.inputs
        labels.append(labels_of(batch, head))
        clean.append(predict(model, inputs)[head])
        for index, (modality, name) in enumerate(cases):
            for severity in severities[1:]:
                rng = np.random.default_rng([seed, number, index])
                spoilt = corruptions[modality][name](inputs[modality], severity, rng)
                found = predict(model, {**inputs, modality: spoilt})[head]
                outputs[(modality, name), severity].append(found)
    true = np.concatenate(labels)
    start = float(measure(true, np.concatenate(clean)))
    return [
        RobustnessCurve(
            *case,
            severities,
            (
                start,
                *(
                    float(measure(true, np.concatenate(outputs[case, severity])))
                    for severity in severities[1:]
                ),
            ),
        )
        for case in cases
    ]


def relative_robustness(curve: RobustnessCurve) -> float:
    """Returns the mean height of a curve over its severities, by the trapezoidal rule.

    Example:

    >>> import mm_keras as mm
    >>> curve = mm.evaluate.RobustnessCurve("image", "noise", (0.0, 1.0), (0.9, 0.5))
    >>> round(mm.evaluate.relative_robustness(curve), 3)
    0.7

    Reference: Taori et al., Measuring Robustness to Natural Distribution Shifts, 2020; Liang et
    al., MultiBench, 2021.
    """
    x, y = np.asarray(curve.severities), np.asarray(curve.values)
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def effective_robustness(curve: RobustnessCurve, baseline: RobustnessCurve) -> float:
    """Returns how much a curve lies above a baseline's that is moved to the same clean value.

    What a model gains by being better from the start does not count. MultiBench's baseline is late
    fusion of the same modalities.

    Raises:
        ValueError: If the curves are of different corruptions or severities.

    Example:

    >>> import mm_keras as mm
    >>> ours = mm.evaluate.RobustnessCurve("image", "noise", (0.0, 1.0), (0.9, 0.5))
    >>> other = mm.evaluate.RobustnessCurve("image", "noise", (0.0, 1.0), (0.8, 0.3))
    >>> round(mm.evaluate.effective_robustness(ours, other), 3)
    0.05

    Reference: Taori et al., 2020; Liang et al., MultiBench, 2021.
    """
    if curve[:3] != baseline[:3]:
        raise ValueError(
            "`baseline` must be of the same modality, corruption and severities. "
            f"Received: {baseline[:3]}, against {curve[:3]}."
        )
    gain = relative_robustness(curve) - relative_robustness(baseline)
    return gain - (curve.values[0] - baseline.values[0])


def _check_severities(severities: Sequence[float]) -> tuple[float, ...]:
    for severity in severities:
        check_number("severities", severity)
    severities = tuple(float(severity) for severity in severities)
    rising = all(a < b for a, b in itertools.pairwise(severities))
    if len(severities) < 2 or severities[0] != 0 or severities[-1] > 1 or not rising:
        raise ValueError(
            "`severities` must rise from 0 to at most 1, in two steps or more. "
            f"Received: severities={severities}."
        )
    return severities


def _check_corruptions(model, corruptions) -> Mapping[str, Mapping[str, Corruption]]:
    if corruptions is None:
        return {name: CORRUPTIONS[type(spec)] for name, spec in modalities_of(model).items()}
    for modality in corruptions:
        check_choice("corruptions", modality, list(model.input))
    return corruptions
