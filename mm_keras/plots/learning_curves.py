"""Metrics over epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mm_keras.plots.style import COLOURS, new_axes


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
    figure, axes = new_axes(7, 4.5, f"Learning curves: {metric}", "epoch", metric)
    for index, (name, history) in enumerate(histories.items()):
        colour = COLOURS[index % len(COLOURS)]
        for key, style, label in (
            (metric, "--", f"{name}, training"),
            (f"val_{metric}", "-", f"{name}, validation"),
        ):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], style, color=colour, label=label, linewidth=1.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=9)
    return figure
