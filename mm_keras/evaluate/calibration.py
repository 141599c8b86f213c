"""Whether probabilities mean what they say."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mm_keras._checks import check_int
from mm_keras.evaluate.samples import class_numbers


class Reliability(NamedTuple):
    """Confidence against accuracy in bins of equal width; NaN in bins without samples.

    Args:
        edges: `(bins + 1,)`, from 0 to 1.
        count: `(bins,)` samples.
        confidence: `(bins,)` mean probability of the predicted class.
        accuracy: `(bins,)` share of samples whose predicted class is right.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_error(self) -> float:
        """ECE: the mean gap between confidence and accuracy, weighted by samples."""
        filled = self.count > 0
        gaps = np.abs(self.confidence - self.accuracy)[filled]
        return float(np.average(gaps, weights=self.count[filled]))


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Reliability:
    """Sorts samples into bins of their confidence, as `mm.plots.reliability_diagram` draws them.

    That takes the same labels and probabilities, or what this returns.

    Args:
        labels: Class numbers `(n,)`, or distributions `(n, C)`.
        probabilities: `(n, C)`, rows that sum to 1.
        bins: Of equal width, from 0 to 1; a confidence on an edge belongs to the bin below it.

    Raises:
        TypeError: If labels or probabilities are a dict, of several heads.
        ValueError: If rows are no probabilities, or shapes don't fit.

    Example:

    >>> import mm_keras as mm
    >>> found = mm.evaluate.reliability([0, 1], [[0.9, 0.1], [0.8, 0.2]], bins=2)
    >>> found.count.tolist(), round(float(found.confidence[1]), 2), float(found.accuracy[1])
    ([0, 2], 0.85, 0.5)

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    check_int("bins", bins)
    labels, probabilities = check_probabilities(labels, probabilities)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges,
            count,
            np.bincount(index, confidence, bins) / count,
            np.bincount(index, right, bins) / count,
        )


def calibration_metrics(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> dict[str, float]:
    """Measures how far confidence is from accuracy, and how good probabilities are as such.

    Args:
        labels: As in `reliability`.
        probabilities: As in `reliability`.
        bins: As in `reliability`.

    Returns:
        `{"ECE": …, "MCE": …, "Brier": …, "NLL": …}`: expected and maximum calibration error, the
        mean, weighted by samples, and the largest gap between confidence and accuracy over the
        bins; the Brier score `mean Σ_c (p_c − y_c)²`, 0 to 2; the mean of `−ln p_y`.

    Raises:
        TypeError, ValueError: As `reliability` does.

    Example:

    >>> import mm_keras as mm
    >>> sure = mm.evaluate.calibration_metrics([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    >>> sure["ECE"], sure["Brier"]
    (0.0, 0.0)

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017; Brier, 1950.
    """
    found = reliability(labels, probabilities, bins)
    labels, probabilities = check_probabilities(labels, probabilities)
    gaps = np.abs(found.confidence - found.accuracy)
    rows = np.arange(len(labels))
    missed = probabilities.copy()
    missed[rows, labels] -= 1
    own = np.maximum(probabilities[rows, labels], np.finfo("float64").tiny)
    return {
        "ECE": found.expected_error,
        "MCE": float(np.nanmax(gaps)),
        "Brier": float((missed**2).sum(axis=1).mean()),
        "NLL": float(-np.log(own).mean()),
    }


def check_probabilities(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Returns class numbers `(n,)` and probabilities `(n, C)` in float64 after a check of both.

    Args:
        labels: Of the samples; `None`: there are none, and zeros are returned.
        probabilities: Of one head.
    """
    for argument, values in (("labels", labels), ("probabilities", probabilities)):
        if isinstance(values, Mapping):
            raise TypeError(
                f"`{argument}` must be an array, of one head, such as "
                f"{argument}[{next(iter(values), 'label')!r}]. "
                f"Received: a dict with the keys {list(values)}."
            )
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.ndim != 2 or not len(probabilities):
        raise ValueError(
            "`probabilities` must be (n, C), of at least one sample. "
            f"Received shape: {probabilities.shape}."
        )
    sums = probabilities.sum(axis=1)
    if not ((probabilities >= 0).all() and np.allclose(sums, 1, atol=1e-2)):
        raise ValueError(
            "`probabilities` must have rows of numbers from 0 that sum to 1: give the output of a "
            "softmax, not logits. Received: numbers from "
            f"{probabilities.min():.4g}, sums from {sums.min():.4g} to {sums.max():.4g}."
        )
    labels = np.zeros(len(probabilities), "int64") if labels is None else np.asarray(labels)
    labels = class_numbers(labels, probabilities.shape[1])
    if len(labels) != len(probabilities):
        raise ValueError(
            "`labels` and `probabilities` must be of the same samples. "
            f"Received: {len(labels)} and {len(probabilities)}."
        )
    return labels, probabilities
