"""Heat maps over pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mm_keras.plots.heat import add_scale, check_rows, draw_heat, heat_scale
from mm_keras.plots.style import as_rgb

SIDE = 1.7  # inches
SHOWN = 6  # views or frames
HEAT = "heat (1: the sample's hottest point)"


def image_heatmap(
    pictures: Any,
    heatmaps: Any,
    titles: Sequence[str] | None = None,
    title: str = "",
    label: str = HEAT,
) -> Figure:
    """Draws a row for each sample: the picture, and the picture in grey under its heat map.

    Of views and videos, up to six, evenly chosen, one below the other's picture. Values below 0,
    of `mm.evaluate.integrated_gradients`, are blue, those above it orange.

    Args:
        pictures: `(n, H, W, C)` or `(n, V, H, W, C)`, pixels 0–255.
        heatmaps: `(n, H, W)`, or `(n, V, H, W)`: of `mm.evaluate.grad_cam`; or attributions with a
            last axis of channels, over which they are summed.
        titles: What stands beside each sample.
        title: Of the figure.
        label: Of the colour bar, with its unit.
    """
    pictures, heatmaps = np.asarray(pictures), np.asarray(heatmaps)
    titles = check_rows(heatmaps, titles, pictures=pictures)
    if heatmaps.ndim == pictures.ndim:
        heatmaps = heatmaps.sum(axis=-1)
    if pictures.ndim not in (4, 5) or heatmaps.shape != pictures.shape[:-1]:
        raise ValueError(
            "`heatmaps` must be of the size of the pictures, (n, H, W) or (n, V, H, W). "
            f"Received: heatmaps {heatmaps.shape}, pictures {pictures.shape}."
        )
    if pictures.ndim == 4:
        pictures, heatmaps = pictures[:, None], heatmaps[:, None]
    views = pictures.shape[1]
    shown = np.unique(np.linspace(0, views - 1, min(views, SHOWN)).round().astype(int))
    scale = heat_scale(heatmaps)
    count = len(pictures)
    # One view: picture and heat side by side; several: one row of each.
    rows, columns = (count, 2) if views == 1 else (2 * count, len(shown))
    height = SIDE * pictures.shape[2] / pictures.shape[3]
    figure = Figure(figsize=(SIDE * columns + 1.9, height * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row in range(count):
        for column, view in enumerate(shown):
            plain, hot = axes[row] if views == 1 else axes[2 * row : 2 * row + 2, column]
            picture = as_rgb(pictures[row, view])
            plain.imshow(picture, interpolation="nearest")
            hot.imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
            draw_heat(hot, heatmaps[row, view], scale, interpolation="nearest")
            if views > 1 and not row:
                plain.set_title(f"{view + 1} of {views}", fontsize=9)
        first = axes[row if views == 1 else 2 * row, 0]
        first.set_ylabel(titles[row], rotation=0, ha="right", va="center", fontsize=9)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
    figure.suptitle(f"{title or 'Where the model looked'} (n = {count})", fontsize=11)
    add_scale(figure, axes, scale, label)
    return figure
