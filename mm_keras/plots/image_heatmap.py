"""Heat maps over pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mm_keras.plots.heat import NOTHING, add_scale, check_rows, draw_heat, heat_scale
from mm_keras.plots.style import ShownFigure, as_rgb

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
    of `mm.evaluate.integrated_gradients`, are blue, those above it orange. A note stands above the
    heat map of a sample that is 0 throughout: `mm.evaluate.grad_cam` found nothing that speaks for
    the class, or the modality is absent.

    Args:
        pictures: `(n, H, W, C)` or `(n, V, H, W, C)`, pixels 0–255.
        heatmaps: `(n, H, W)`, or `(n, V, H, W)`: of `mm.evaluate.grad_cam`; or attributions with a
            last axis of channels, over which they are summed.
        titles: What stands above each sample.
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
    size = (SIDE * columns + 1.6, (height + 0.1) * rows + 0.25 * count + 0.6)
    figure = ShownFigure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row in range(count):
        for column, view in enumerate(shown):
            plain, hot = axes[row] if views == 1 else axes[2 * row : 2 * row + 2, column]
            picture = as_rgb(pictures[row, view])
            plain.imshow(picture, interpolation="nearest")
            grey, heat = picture.mean(axis=-1), heatmaps[row, view]
            draw_heat(hot, grey, heat, scale, interpolation="nearest")
            if column == 0 and not heatmaps[row].any():
                hot.set_title(NOTHING, fontsize=8)
            if views == 1:
                plain.set_title(titles[row], fontsize=9)
            else:
                name = "" if column else f"{titles[row]}: "
                plain.set_title(f"{name}{view + 1} of {views}", fontsize=9)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
    figure.suptitle(f"{title or 'Where the model looked'} (n = {count})", fontsize=11)
    add_scale(figure, axes, scale, label)
    return figure
