"""Confidence against accuracy."""

import numpy as np
from matplotlib.figure import Figure

from mm_keras.evaluate import calibration_metrics, reliability
from mm_keras.plots.style import COLOURS, new_axes


def reliability_diagram(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15, title: str = ""
) -> Figure:
    """Draws the accuracy of samples by their confidence, and how many there are of each.

    On the diagonal a model is right as often as it says. Below it, it says too much.

    Args:
        labels: Class numbers `(n,)`, or distributions `(n, C)`.
        probabilities: `(n, C)`, rows that sum to 1.
        bins: Of confidence, of equal width.
        title: Of the figure.
    """
    found = reliability(labels, probabilities, bins)
    error = calibration_metrics(labels, probabilities, bins)["ECE"]
    count = int(found.count.sum())
    figure, axes = new_axes(
        5.5,
        5.5,
        f"{title or 'Reliability'} (n = {count:,}, ECE = {error:.3f})",
        "confidence: probability of the predicted class",
        "accuracy",
    )
    width = 1 / bins
    axes.bar(
        found.edges[:-1] + width / 2,
        np.nan_to_num(found.accuracy),
        width * 0.94,
        color=COLOURS[0],
        label="accuracy",
    )
    axes.plot(found.confidence, found.confidence, "o", color=COLOURS[1], label="confidence")
    axes.plot([0, 1], [0, 1], "--", color=COLOURS[-1], linewidth=1, label="calibrated")
    axes.bar(
        found.edges[:-1] + width / 2,
        -0.15 * found.count / found.count.max(),
        width * 0.94,
        color="#999999",
        label="samples, largest bin: " + f"{found.count.max():,}",
    )
    axes.set(xlim=(0, 1), ylim=(-0.17, 1.02), yticks=np.arange(0, 1.01, 0.2))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure
