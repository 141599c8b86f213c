"""A model as boxes and arrows."""

from collections.abc import Mapping

import keras
from matplotlib.figure import Figure

from mm_keras._graphs import layer_sources
from mm_keras.layers import Fusion
from mm_keras.plots.style import ShownFigure

FACES = {"InputLayer": "#DDDDDD", "Functional": "#CCE5F6", "Fusion": "#FBE3C8"}


def model_diagram(model: keras.Model) -> Figure:
    """Draws a functional model as boxes from top to bottom, a column for each branch.

    It needs no Graphviz; `keras.utils.plot_model` shows more where that is installed.

    Args:
        model: A functional `keras.Model`.
    """
    parents = layer_sources(model)
    rows = _rows(parents)
    places = _places(parents, rows)
    columns = [x for x, _ in places.values()]
    width = max(columns) - min(columns) + 1
    figure = ShownFigure(figsize=(2.7 * width + 0.4, 0.75 * len(rows) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    for name, sources in parents.items():
        x, y = places[name]
        for source in sources:
            axes.annotate(
                "",
                xy=(x, y + 0.3),
                xytext=(places[source][0], places[source][1] - 0.3),
                arrowprops={"arrowstyle": "-|>", "color": "#555555", "linewidth": 1},
            )
    for name, (x, y) in places.items():
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


def _rows(parents: Mapping[str, list[str]]) -> list[list[str]]:
    """Returns the layers by depth: each stands below everything that feeds it."""
    depth: dict[str, int] = {}

    def measure(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((measure(source) for source in parents[name]), default=-1)
        return depth[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(map(measure, parents)))]
    for name in parents:
        rows[depth[name]].append(name)
    return rows


def _places(
    parents: Mapping[str, list[str]], rows: list[list[str]]
) -> dict[str, tuple[float, float]]:
    """Returns `{layer: (x, y)}`: below the middle of what feeds it, one apart in its row."""
    places: dict[str, tuple[float, float]] = {}
    for y, names in enumerate(rows):
        wanted = {
            name: sum(places[source][0] for source in parents[name]) / len(parents[name])
            if parents[name]
            else float(column)
            for column, name in enumerate(names)
        }
        left = None
        for name in sorted(names, key=wanted.get):
            left = wanted[name] if left is None else max(wanted[name], left + 1)
            places[name] = (left, -float(y))
    return places


def _shape(layer: keras.layers.Layer) -> tuple:
    """Returns the shape of a layer's first output, without the batch axis."""
    outputs = keras.tree.flatten(layer.output)
    return tuple(outputs[0].shape)[1:]
