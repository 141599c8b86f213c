"""Which modality a model leans on."""

from matplotlib.figure import Figure

from mm_keras.evaluate import Contributions
from mm_keras.plots.style import COLOURS, new_axes


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
    boxes = axes.boxplot(
        [contributions.values[name] for name in names],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        widths=0.6,
        medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"},
    )
    for index, box in enumerate(boxes["boxes"]):
        box.set_facecolor(COLOURS[index % len(COLOURS)])
    shares = contributions.shares
    axes.set_yticks(
        range(1, len(names) + 1), [f"{name}\n{100 * shares[name]:.0f} % overall" for name in names]
    )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    return figure
