"""Which modality a model leans on."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mm_keras.evaluate import Contributions
from mm_keras.plots.style import draw_boxes, new_axes


def contributions_chart(
    contributions: Contributions | Mapping[str, Contributions], title: str = ""
) -> Figure:
    """Draws `mm.evaluate.shapley_values`: each modality's values over the samples, as a box.

    The box holds the middle half of the samples, the line is the median, whiskers reach from the
    5th to the 95th percentile, the diamond is the mean.

    Args:
        contributions: As it returns them; or, of several models, `{name of the model: its}`.
        title: Of the figure.
    """
    several = isinstance(contributions, Mapping)
    models = contributions if several else {"": contributions}
    if not models:
        raise ValueError("`contributions` must be of some model. Received: none.")
    order = list(dict.fromkeys(name for found in models.values() for name in found.values))
    values, labels, colours = [], [], []
    for model, found in models.items():
        shares = found.shares
        for name, own in found.values.items():
            values.append(own)
            shown = f"{model}, {name}" if several else name
            colours.append(order.index(name))  # a modality has one, whatever the model
            labels.append(f"{shown}\n{100 * shares[name]:.0f} % overall")
    counts = sorted({len(found.whole) for found in models.values()})
    figure, axes = new_axes(
        7,
        1.8 + 0.6 * len(values),
        f"{title or 'Contribution of each modality'} (n = {', '.join(map('{:,}'.format, counts))})",
        "Shapley value: share of the predicted class's output",
        "",
    )
    draw_boxes(axes, values, labels, colours)
    axes.axvline(0, color="black", linewidth=0.8)
    return figure
