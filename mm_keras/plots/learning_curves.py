"""Metrics over epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008: told apart by colour-blind people too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def learning_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]], metric: str = "accuracy"
) -> Figure:
    """Draws a metric over the epochs: training dashed, validation solid.

    Args:
        histories: `{model name: History.history}`.
        metric: A key of the histories; its validation twin is `val_<metric>`.
    """
    if not any(metric in history for history in histories.values()):
        known = sorted({key for history in histories.values() for key in history})
        raise ValueError(f"`metric` must be one of {known}. Received: metric={metric!r}.")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, history) in enumerate(histories.items()):
        colour = COLOURS[index % len(COLOURS)]
        for key, style, label in (
            (metric, "--", f"{name}, training"),
            (f"val_{metric}", "-", f"{name}, validation"),
        ):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], style, color=colour, label=label, linewidth=1.8)
    axes.set(xlabel="epoch", ylabel=metric, title=f"Learning curves: {metric}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure
