"""Words coloured by what they contributed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from mm_keras.modalities import Text
from mm_keras.plots.heat import HeatScale, add_scale, check_rows, heat_scale
from mm_keras.plots.style import RISING, ShownFigure

WIDTH = 7.0  # inches of text
SIZE = 11  # points
LINE = 0.3  # inches


def word_heatmap(
    spec: Text,
    ids: Any,
    values: Any,
    titles: Sequence[str] | None = None,
    title: str = "",
    label: str = "attribution to the output",
) -> Figure:
    """Draws texts with each word on a ground of the colour of its value.

    Orange speaks for the output, blue against it; where no value is negative, as in attention, the
    darker the more. All texts have one scale.

    Args:
        spec: Of the text, with its vocabulary.
        ids: `(n, T)`, 0 for padding, which is left out.
        values: `(n, T)`: of `mm.evaluate.integrated_gradients`, or attention on the words.
        titles: What stands above each text.
        title: Of the figure.
        label: Of the colour bar, with its unit.
    """
    ids, values = np.asarray(ids), np.asarray(values, "float64")
    titles = check_rows(values, titles, ids=ids)
    if ids.shape != values.shape or ids.ndim != 2:
        raise ValueError(
            f"`values` must be (n, T), as the ids are. Received: values {values.shape}, "
            f"ids {ids.shape}."
        )
    scale = heat_scale(np.where(ids != 0, values, 0.0), RISING)
    texts = [_lines(spec, *row) for row in zip(ids, values, strict=True)]
    heights = [LINE * (len(lines) + 1.1) for lines in texts]
    figure = ShownFigure(figsize=(WIDTH + 1.2, sum(heights) + 0.8), layout="constrained")
    rows = figure.subplots(
        len(texts), 1, squeeze=False, gridspec_kw={"height_ratios": heights, "hspace": 0}
    )
    for axes, lines, name, height in zip(rows[:, 0], texts, titles, heights, strict=True):
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.axis("off")
        axes.text(0, LINE * 0.5, name, fontsize=9, weight="bold", va="center", parse_math=False)
        for number, line in enumerate(lines, start=1):
            for word, value, place in line:
                _write(axes, word, value, (place, LINE * (number + 0.4)), scale)
    figure.suptitle(f"{title or 'What each word contributed'} (n = {len(texts)})", fontsize=11)
    add_scale(figure, rows, scale, label)
    return figure


def words_of(spec: Text, ids: np.ndarray) -> list[str]:
    """Returns the words of ids `(T,)`, padding left out."""
    known = {number + 2: token for number, token in enumerate(spec.vocabulary)}
    return [known.get(int(number), "[UNK]") for number in ids if number]


def _lines(spec: Text, ids: np.ndarray, values: np.ndarray) -> list[list[tuple]]:
    """Returns lines of `(word, value, place in inches)`."""
    gap = 0.06 if spec.split == "character" else 0.14
    lines, right = [[]], 0.05
    for word, value in zip(words_of(spec, ids), values[ids != 0], strict=True):
        width = TextPath((0, 0), word.replace("$", "S"), size=SIZE).get_extents().width / 72
        if lines[-1] and right + width > WIDTH:
            lines.append([])
            right = 0.05
        lines[-1].append((word, value, right))
        right += width + gap
    return lines


def _write(axes: Axes, word: str, value: float, place, scale: HeatScale) -> None:
    colour = scale.colours(scale.norm(value))
    light = np.dot(colour[:3], (0.299, 0.587, 0.114))
    axes.text(
        *place,
        word,
        fontsize=SIZE,
        va="center",
        color="black" if light > 0.5 else "white",
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
    )
