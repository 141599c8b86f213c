"""Which position of one modality looked at which of another."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm_keras.evaluate import AttentionMap
from mm_keras.plots.heat import heat_scale
from mm_keras.plots.style import ShownFigure

UNITS = {
    "attention": "attention (share of the query's)",
    "similarity": "similarity",
    "pooling": "weight (share)",
}


def attention_matrix(
    attention: AttentionMap,
    sample: int | None = None,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draws a map of `mm.evaluate.attention_maps` as a matrix: rows look, columns are looked at.

    Positions of a picture or a spectrogram stand row by row; lines part the rows of the map.

    Args:
        attention: As it returns them.
        sample: Which of the n samples; `None`: their mean.
        queries: Names of the rows, e.g. words; those that there are too few of stay empty.
        keys: Names of the columns.
        title: Of the figure.
    """
    count = len(attention.weights)
    if sample is not None and not -count <= sample < count:
        raise ValueError(
            f"`sample` must be one of the {count} samples, or None. Received: sample={sample}."
        )
    rows, columns = (math.prod(grid) for grid in (attention.query_grid, attention.key_grid))
    every = attention.weights.reshape(count, rows, columns)
    matrix = every.mean(axis=0) if sample is None else every[sample]
    names = {"queries": (queries, rows), "keys": (keys, columns)}
    for argument, (given, size) in names.items():
        if given is not None and len(given) > size:
            raise ValueError(
                f"`{argument}` must be at most {size} names, one a position. "
                f"Received: {len(given)} names."
            )
    scale = heat_scale(matrix)
    width, height = (min(max(0.3 * size, 2.2), 8.0) for size in (columns, rows))
    if rows == 1:
        height = 1.1
    figure = ShownFigure(figsize=(width + 2.6, height + 1.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        matrix, cmap=scale.colours, norm=scale.norm, aspect="auto", interpolation="nearest"
    )
    line = "white" if scale.norm.vmin == 0 else "0.4"
    _label(axes, "y", attention.queries, attention.query_grid, queries, line)
    _label(axes, "x", attention.keys, attention.key_grid, keys, line)
    which = f"mean of n = {count}" if sample is None else f"sample {sample % count} of n = {count}"
    if not title:
        looker = attention.queries or "the pooling"
        title = f"What {looker} looked at in {attention.keys}"
        if attention.kind == "similarity":
            title = f"How alike {attention.queries} and {attention.keys} are"
    axes.set_title(f"{title}\n({which})")
    figure.colorbar(image, ax=axes, label=UNITS[attention.kind]).outline.set_visible(False)
    return figure


def _label(
    axes: Axes, axis: str, name: str | None, grid: tuple[int, ...], names, line: str
) -> None:
    size = math.prod(grid)
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    if name is None:
        set_ticks([])
        return
    shape = " × ".join(map(str, grid))
    where = f"positions of {name}" + (f" ({shape}, row by row)" if len(grid) > 1 else "")
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(where)
    if names is not None:
        set_ticks(range(len(names)), list(names), fontsize=8)
        if axis == "x" and max(map(len, names), default=0) > 2:
            axes.tick_params(axis="x", rotation=90)
        for tick in axes.get_xticklabels() if axis == "x" else axes.get_yticklabels():
            tick.set_parse_math(False)
    elif size <= 12:
        set_ticks(range(size))
    else:
        set_ticks(range(0, size, -(-size // 12)))
    if len(grid) > 1:
        draw = axes.axvline if axis == "x" else axes.axhline
        for place in range(grid[-1], size, grid[-1]):
            whole = len(grid) == 3 and not place % (grid[-1] * grid[-2])
            draw(place - 0.5, color=line, linewidth=1.6 if whole else 0.6)
