"""Systems against each other, with the spread of their seeds or folds."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mm_keras.evaluate import mean_interval
from mm_keras.plots.style import COLOURS, new_axes


def comparison_chart(
    values: Mapping[str, Sequence[float]],
    metric: str = "accuracy",
    title: str = "",
    unit: str = "seeds",
    test_ratio: float = 0.0,
) -> Figure:
    """Draws a row for each system: each seed or fold a dot, the mean a line with its 95 % interval.

    Args:
        values: `{row: the metric for each seed or fold}`.
        metric: Its name, for the axis.
        title: Of the figure.
        unit: What there is a value for.
        test_ratio: As in `mm.evaluate.paired_test`, for intervals over folds.
    """
    if not values or not all(len(own) for own in values.values()):
        raise ValueError(f"`values` must have numbers for each row. Received: {dict(values)}.")
    seeds = {len(own) for own in values.values()}
    count = str(seeds.pop()) if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    figure, axes = new_axes(
        7.5, 1.5 + 0.4 * len(values), f"{title or 'Comparison'} (n = {count} {unit})", metric, ""
    )
    for index, own in enumerate(values.values()):
        axes.plot(own, [index] * len(own), "o", color=COLOURS[0], alpha=0.5, markersize=5)
        style = {"color": COLOURS[1], "markersize": 14, "capsize": 4, "linewidth": 2}
        mean, half = statistics.mean(own), mean_interval(own, test_ratio=test_ratio)
        axes.errorbar(mean, index, xerr=half, fmt="|", **style)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    return figure
