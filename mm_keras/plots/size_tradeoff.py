"""What a smaller file costs."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mm_keras.plots.style import COLOURS, new_axes

MARKERS = "osD^vP*X"


def size_tradeoff(
    points: Mapping[str, tuple[float, float]], metric: str = "accuracy", samples: int | None = None
) -> Figure:
    """Draws a metric of models against their size on disk; up and to the left is better.

    Args:
        points: `{model name: (size in KB, value)}`; the first is what the others come from, and a
            line marks its value.
        metric: Name of the value.
        samples: How many it was measured on.
    """
    if not points:
        raise ValueError(f"`points` must have at least one model. Received: points={points!r}.")
    title = f"{metric[:1].upper()}{metric[1:]} against size"
    if samples is not None:
        title += f" (n = {samples:,})"
    figure, axes = new_axes(7, 4.5, title, "size on disk (KB)", metric)
    axes.axhline(next(iter(points.values()))[1], color="0.6", linewidth=1, linestyle="--")
    for index, (name, (size, value)) in enumerate(points.items()):
        axes.plot(
            size,
            value,
            MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            label=name,
            markersize=9,
        )
    axes.set_xscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=9)
    return figure
