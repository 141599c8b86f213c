"""How much of each modality the gates let through."""

import numpy as np
from matplotlib.figure import Figure

from mm_keras.evaluate import Gates
from mm_keras.plots.style import COLOURS, ShownFigure, draw_boxes


def gates_chart(gates: Gates, title: str = "") -> Figure:
    """Draws `mm.evaluate.modality_gates`: each modality's gates over the samples that have it.

    The box holds the middle half of the samples, the line is the median, whiskers reach from the
    5th to the 95th percentile, the diamond is the mean. Gates of positions have a panel below:
    their mean over the samples, place by place.

    Args:
        gates: As it returns them.
        title: Of the figure.
    """
    names = [name for name, here in gates.present.items() if here.any()]
    if not names:
        raise ValueError("`gates` must have a sample that has some modality. Received: none.")
    count = len(next(iter(gates.present.values())))
    panels = 1 if gates.positions is None else 2
    figure = ShownFigure(
        figsize=(7, 1.6 + 0.6 * len(names) + 2.4 * (panels - 1)), layout="constrained"
    )
    ratios = [0.9 + 0.6 * len(names), 2.4][:panels]
    boxes, *below = figure.subplots(panels, 1, squeeze=False, height_ratios=ratios)[:, 0]
    means, chosen = gates.means, gates.chosen
    labels = [
        f"{name} (n = {int(gates.present[name].sum()):,})\n"
        f"mean {means[name]:.2f}, above 0 in {100 * chosen[name]:.0f} %"
        for name in names
    ]
    draw_boxes(boxes, [gates.values[name][gates.present[name]] for name in names], labels)
    boxes.set(xlim=(-0.02, 1.02), xlabel="gate (share of the sample's gates)")
    for axes in below:
        for index, name in enumerate(names):
            values = gates.positions[name][gates.present[name]].mean(axis=0)
            places = np.arange(len(values))
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(places, values, "os^Dv"[index % 5] + "-", color=colour, label=name)
        axes.set(xlabel="position", ylabel="mean gate", ylim=(-0.02, 1.02))
        axes.legend(frameon=False, fontsize=9)
    for axes in (boxes, *below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title or 'Gates of each modality'} (n = {count:,})", fontsize=12)
    return figure
