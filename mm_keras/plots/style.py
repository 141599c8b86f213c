"""What all plots have in common."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008: told apart by colour-blind people too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SEQUENTIAL = colormaps["viridis"]
RISING = LinearSegmentedColormap.from_list("rising", ("white", COLOURS[1]))
DIVERGING = LinearSegmentedColormap.from_list("blue_orange", (COLOURS[0], "white", COLOURS[1]))


class ShownFigure(Figure):
    """A figure that a notebook draws as the result of a cell, without pyplot or a magic command."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=80)
        return picture.getvalue()


def new_axes(width: float, height: float, title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Returns a figure with one pair of axes; width and height in inches."""
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_boxes(
    axes: Axes,
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    colours: Sequence[int] | None = None,
) -> None:
    """Draws a box for each row of numbers, the first on top.

    The box holds the middle half, the line is the median, whiskers reach from the 5th to the 95th
    percentile, the diamond is the mean.

    Args:
        axes: Where.
        rows: Numbers of each box.
        labels: Of the boxes.
        colours: Their numbers; `None`: one after the other.
    """
    colours = range(len(rows)) if colours is None else colours
    boxes = axes.boxplot(
        rows,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        widths=0.6,
        medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"},
    )
    for index, box in zip(colours, boxes["boxes"], strict=True):
        box.set_facecolor(COLOURS[index % len(COLOURS)])
    axes.set_yticks(range(1, len(labels) + 1), labels)
    axes.invert_yaxis()


def as_rgb(pictures: np.ndarray) -> np.ndarray:
    """Returns uint8 `(…, 3)` of pixels 0–255 `(…, C)`: of other numbers of channels, the first."""
    channels = pictures.shape[-1]
    if channels not in (1, 3):
        pictures = pictures[..., :3] if channels > 3 else pictures[..., :1]
    if pictures.shape[-1] == 1:
        pictures = np.repeat(pictures, 3, axis=-1)
    return np.clip(np.round(pictures), 0, 255).astype("uint8")
