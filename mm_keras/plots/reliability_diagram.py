"""Confidence against accuracy."""

import numpy as np
from matplotlib.figure import Figure

from mm_keras.evaluate import Reliability, reliability
from mm_keras.plots.style import COLOURS, new_axes

SMALL = {"frameon": False, "fontsize": 9}


def reliability_diagram(
    labels: np.ndarray | Reliability,
    probabilities: np.ndarray | None = None,
    bins: int = 15,
    title: str = "",
) -> Figure:
    """Draws the accuracy of samples by their confidence, and how many there are of each.

    On the diagonal a model is right as often as it says. Below it, it says too much.

    Args:
        labels: Class numbers `(n,)`, or distributions `(n, C)`; or what `mm.evaluate.reliability`
            returned of them, and nothing else but a title.
        probabilities: `(n, C)`, rows that sum to 1.
        bins: Of confidence, of equal width.
        title: Of the figure.

    Raises:
        TypeError: If labels come without probabilities, or their result with them.
        ValueError: As `mm.evaluate.reliability` does.
    """
    done = isinstance(labels, Reliability)
    if done != (probabilities is None):
        raise TypeError(
            "`probabilities` must be given with labels, and left out with a result of "
            f"mm.evaluate.reliability. Received: labels of type {type(labels).__name__}, "
            f"probabilities of type {type(probabilities).__name__}."
        )
    found = labels if done else reliability(labels, probabilities, bins)
    error = found.expected_error
    count = int(found.count.sum())
    figure, axes = new_axes(
        5.5,
        5.5,
        f"{title or 'Reliability'} (n = {count:,}, ECE = {error:.3f})",
        "confidence: probability of the predicted class",
        "accuracy",
    )
    width = 1 / len(found.count)
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
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, **SMALL)
    return figure
