"""A model as boxes and arrows."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
from matplotlib.figure import Figure

from mm_keras._graphs import layer_sources
from mm_keras.layers import Fusion
from mm_keras.plots.style import ShownFigure

FACES = {"InputLayer": "#DDDDDD", "Functional": "#CCE5F6", "Fusion": "#FBE3C8"}

NARROW = 0.3  # room for a line between boxes, which take 1


class Bend(NamedTuple):
    """Where a line passes a row of boxes.

    Args:
        source: The layer that the line comes from.
        row: Counted from the top.
    """

    source: str
    row: int


Stop = str | Bend  # a layer, or a bend


def model_diagram(model: keras.Model) -> Figure:
    """Draws a functional model as boxes from top to bottom, a column for each branch.

    It needs no Graphviz; `keras.utils.plot_model` shows more where that is installed.

    Args:
        model: A functional `keras.Model`.
    """
    parents = layer_sources(model)
    rows = _rows(parents)
    stops = _with_bends(parents, rows)
    places = _places(stops, rows)
    columns = [x for x, _ in places.values()]
    width = max(columns) - min(columns) + 1
    figure = ShownFigure(figsize=(2.7 * width + 0.4, 0.75 * len(rows) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    for stop, sources in stops.items():
        x, y = places[stop]
        for source in sources:
            above, height = places[source]
            line = {"color": "#555555", "linewidth": 1}
            start, end = (above, height - 0.3), (x, y + 0.3)
            if isinstance(stop, Bend):
                axes.plot([above, x, x], [height - 0.3, y + 0.3, y - 0.3], zorder=1, **line)
            else:
                arrow = {"arrowstyle": "-|>", "shrinkA": 0, **line}
                axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    for name in parents:
        x, y = places[name]
        layer = model.get_layer(name)
        kind = type(layer).__name__
        shape = " × ".join("?" if size is None else str(size) for size in _shape(layer))
        axes.text(
            x,
            y,
            f"{name}\n{kind}  {shape}",
            ha="center",
            va="center",
            fontsize=7,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": FACES["Fusion"]
                if isinstance(layer, Fusion)
                else FACES.get(kind, "white"),
                "edgecolor": "#333333",
                "linewidth": 0.8,
            },
        )
    axes.set(xlim=(min(columns) - 0.55, max(columns) + 0.55), ylim=(-len(rows) + 0.4, 0.6))
    axes.set_title(f"{model.name}: {model.count_params():,} parameters", fontsize=10)
    axes.axis("off")
    return figure


def _rows(parents: Mapping[str, list[str]]) -> list[list[Stop]]:
    """Returns the layers by depth: each stands below everything that feeds it."""
    depth: dict[str, int] = {}

    def measure(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((measure(source) for source in parents[name]), default=-1)
        return depth[name]

    rows: list[list[Stop]] = [[] for _ in range(1 + max(map(measure, parents)))]
    for name in parents:
        rows[depth[name]].append(name)
    return rows


def _with_bends(parents: Mapping[str, list[str]], rows: list[list[Stop]]) -> dict[Stop, list[Stop]]:
    """Returns what each box, and each bend, is fed by; puts bends into the rows that lines pass."""
    depth = {name: y for y, names in enumerate(rows) for name in names}
    stops: dict[Stop, list[Stop]] = {}
    for name, sources in parents.items():
        stops[name] = []
        for source in sources:
            last: Stop = source
            for y in range(depth[source] + 1, depth[name]):
                bend = Bend(source, y)  # lines from one box go one way
                if bend not in stops:
                    stops[bend] = [last]
                    rows[y].append(bend)
                last = bend
            stops[name].append(last)
    return stops


def _places(
    parents: Mapping[Stop, list[Stop]], rows: list[list[Stop]]
) -> dict[Stop, tuple[float, float]]:
    """Returns `{box or bend: (x, y)}`: below the middle of what feeds it, apart in its row."""
    places: dict[Stop, tuple[float, float]] = {}
    for y, stops in enumerate(rows):
        wanted = {
            stop: sum(places[source][0] for source in parents[stop]) / len(parents[stop])
            if parents[stop]
            else float(column)
            for column, stop in enumerate(stops)
        }
        left = None
        for stop in sorted(stops, key=wanted.get):
            room = NARROW / 2 if isinstance(stop, Bend) else 0.5
            left = wanted[stop] if left is None else max(wanted[stop], left + room)
            places[stop] = (left, -float(y))
            left += room
    return places


def _shape(layer: keras.layers.Layer) -> tuple:
    """Returns the shape of a layer's first output, without the batch axis."""
    outputs = keras.tree.flatten(layer.output)
    return tuple(outputs[0].shape)[1:]
