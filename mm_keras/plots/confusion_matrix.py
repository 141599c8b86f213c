"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix as count

from mm_keras.plots.style import ShownFigure


def confusion_matrix(
    true: Sequence[int],
    predicted: Sequence[int],
    classes: Sequence[str],
    title: str = "",
    most: int = 30,
) -> Figure:
    """Draws which classes are taken for which: rows are true classes, and sum to 1 in colour.

    Of more than `most` classes those are drawn, in their order, of which the largest shares are
    taken for others, with these others; the axes' labels then say so, and rows sum to less than 1.
    A class without samples has a light row.

    Args:
        true: Class numbers `(n,)`.
        predicted: Class numbers `(n,)`.
        classes: Names of the classes, in the order of their numbers.
        title: Of the figure.
        most: How many classes are drawn at most, at least two.

    Raises:
        ValueError: If `most` is less than two.
    """
    if most < 2:
        raise ValueError(f"`most` must be at least 2. Received: {most}.")
    counts = count(true, predicted, labels=range(len(classes)))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_array(
        counts / np.maximum(totals, 1), np.repeat(totals == 0, len(classes), 1)
    )
    drawn = _most_confused(shares.filled(0), most)
    counts, shares = (table[np.ix_(drawn, drawn)] for table in (counts, shares))
    names = [classes[number] for number in drawn]
    side = 2.5 + 0.45 * len(drawn)
    figure = ShownFigure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if len(drawn) <= 20:
        for row, column in np.argwhere(counts):
            colour = "black" if shares[row, column] > 0.6 else "white"
            axes.text(
                column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8
            )
    ticks = range(len(drawn))
    some = (
        "" if len(drawn) == len(classes) else f" ({len(drawn)} most confused of {len(classes):,})"
    )
    axes.set(
        xticks=ticks,
        yticks=ticks,
        xticklabels=names,
        yticklabels=names,
        xlabel=f"predicted{some}",
        ylabel=f"true{some}",
        title=f"{title or 'Confusion matrix'} (n = {len(true):,})",
    )
    if max(map(len, names)) > 3:
        axes.tick_params(axis="x", rotation=90)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def _most_confused(shares: np.ndarray, most: int) -> np.ndarray:
    """Returns the numbers, ascending, of at most `most` classes with the largest errors."""
    if len(shares) <= most:
        return np.arange(len(shares))
    errors = np.where(np.eye(len(shares), dtype=bool), 0, shares)
    pairs = np.stack(np.unravel_index(np.argsort(-errors, axis=None, kind="stable"), errors.shape))
    classes, first = np.unique(pairs.T.ravel(), return_index=True)
    return np.sort(classes[np.argsort(first)[:most]])
