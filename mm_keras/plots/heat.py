"""Colours of values that lie over pictures and words."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from mm_keras.plots.style import DIVERGING, SEQUENTIAL

NOTHING = "no evidence (all 0)"
PALE = 450
OPACITY = 0.85  # of the largest value; what is 0 lets everything through


class HeatScale(NamedTuple):
    """How values become colours.

    Args:
        colours: From the lowest to the highest value.
        norm: From values to 0…1.
    """

    colours: Colormap
    norm: Normalize

    @property
    def mappable(self) -> ScalarMappable:
        """What a colour bar is made of."""
        return ScalarMappable(self.norm, self.colours)


def heat_scale(values: np.ndarray, sequential: Colormap = SEQUENTIAL) -> HeatScale:
    """Returns one scale for all values: from 0 up, or around 0 where some are negative."""
    values = np.asarray(values)
    if not np.isfinite(values).all():
        raise ValueError("`values` must be finite. Received: some that are not.")
    highest = float(np.abs(values).max(initial=0.0)) or 1.0
    if (values < 0).any():
        return HeatScale(DIVERGING, Normalize(-highest, highest))
    return HeatScale(sequential, Normalize(0, highest))


def draw_heat(
    axes: Axes, picture: np.ndarray, values: np.ndarray, scale: HeatScale, **options
) -> None:
    """Draws values `(H, W)` over a picture `(H, W)` 0–255 in grey, which is seen where they are 0.

    The picture is pale where 0 is white.
    """
    darkest = 0 if scale.norm.vmin == 0 else -PALE
    axes.imshow(picture, cmap="gray", vmin=darkest, vmax=255, **options)
    opacity = OPACITY * np.sqrt(np.abs(values) / scale.norm.vmax)
    axes.imshow(values, cmap=scale.colours, norm=scale.norm, alpha=opacity.clip(0, 1), **options)


def add_scale(figure: Figure, axes, scale: HeatScale, label: str) -> None:
    """Draws the colour bar beside axes."""
    bar = figure.colorbar(scale.mappable, ax=axes, label=label, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)


def check_rows(values, titles, **others) -> list[str]:
    """Returns the titles of n samples, after a check that everything has n."""
    count = len(values)
    titles = [f"sample {row}" for row in range(count)] if titles is None else list(titles)
    sizes = {name: len(other) for name, other in {**others, "titles": titles}.items()}
    if not count or set(sizes.values()) != {count}:
        raise ValueError(
            f"`{'`, `'.join(sizes)}` must have one entry for each of the samples that have values, "
            f"{count}, and at least one. Received: {sizes}."
        )
    return titles
