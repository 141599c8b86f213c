"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix as count

from mm_keras.plots.style import ShownFigure


def confusion_matrix(
    true: Sequence[int], predicted: Sequence[int], classes: Sequence[str], title: str = ""
) -> Figure:
    """Draws which classes are taken for which: rows are true classes, and sum to 1 in colour.

    Args:
        true: Class numbers `(n,)`.
        predicted: Class numbers `(n,)`.
        classes: Names of the classes, in the order of their numbers.
        title: Of the figure.
    """
    counts = count(true, predicted, labels=range(len(classes)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.45 * len(classes)
    figure = ShownFigure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if len(classes) <= 20:
        for row, column in np.argwhere(counts):
            colour = "black" if shares[row, column] > 0.6 else "white"
            axes.text(
                column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8
            )
    ticks = range(len(classes))
    axes.set(
        xticks=ticks,
        yticks=ticks,
        xticklabels=classes,
        yticklabels=classes,
        xlabel="predicted",
        ylabel="true",
        title=f"{title or 'Confusion matrix'} (n = {len(true)})",
    )
    if max(map(len, classes)) > 3:
        axes.tick_params(axis="x", rotation=90)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure
