"""Which modality a model leans on."""

from matplotlib.figure import Figure

from mm_keras.evaluate import Contributions
from mm_keras.plots.style import draw_boxes, new_axes


def contributions_chart(contributions: Contributions, title: str = "") -> Figure:
    """Draws `mm.evaluate.shapley_values`: each modality's values over the samples, as a box.

    The box holds the middle half of the samples, the line is the median, whiskers reach from the
    5th to the 95th percentile, the diamond is the mean.

    Args:
        contributions: As it returns them.
        title: Of the figure.
    """
    names = list(contributions.values)
    count = len(contributions.whole)
    figure, axes = new_axes(
        7,
        1.8 + 0.6 * len(names),
        f"{title or 'Contribution of each modality'} (n = {count:,})",
        "Shapley value: share of the predicted class's output",
        "",
    )
    shares = contributions.shares
    labels = [f"{name}\n{100 * shares[name]:.0f} % overall" for name in names]
    draw_boxes(axes, [contributions.values[name] for name in names], labels)
    axes.axvline(0, color="black", linewidth=0.8)
    return figure
