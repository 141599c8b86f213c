"""What a model is worth with every set of its modalities."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mm_keras.evaluate import AblationRow
from mm_keras.plots.style import COLOURS, new_axes


def presence_chart(
    rows: Sequence[AblationRow], metric: str = "accuracy", title: str = ""
) -> Figure:
    """Draws `mm.evaluate.presence_ablation`: a bar for each presence pattern.

    Args:
        rows: As it returns them; those without samples are left out.
        metric: Its name, for the axis.
        title: Of the figure.
    """
    rows = [row for row in rows if row.samples]
    if not rows:
        raise ValueError("`rows` must have a pattern that some sample has. Received: none.")
    figure, axes = new_axes(
        7,
        1.4 + 0.4 * len(rows),
        title or f"{metric.capitalize()} by the modalities that are present",
        metric,
        "",
    )
    names = [" + ".join(row.present) or "none" for row in rows]
    sizes = {len(row.present) for row in rows}
    colours = [COLOURS[(max(sizes) - len(row.present)) % len(COLOURS)] for row in rows]
    bars = axes.barh(range(len(rows)), [row.value for row in rows], 0.7, color=colours)
    axes.bar_label(
        bars,
        [f"{row.value:.3f}  (n = {row.samples:,})" for row in rows],
        padding=4,
        fontsize=9,
    )
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    low, high = min(0, *axes.get_xlim()), axes.get_xlim()[1]
    axes.set_xlim(low, low + 1.25 * (high - low))
    return figure
