"""Samples of a dataset, all their modalities side by side."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm_keras._checks import PRESENT
from mm_keras.modalities import Audio, Features, Image, Modality, Tabular, Text, Video, Views
from mm_keras.plots.spectrograms import spectrograms
from mm_keras.plots.style import ShownFigure, as_rgb
from mm_keras.plots.word_heatmap import words_of

ROW = 1.35  # inches
TITLE = 18  # characters in a line
WIDTHS = {Image: 1.35, Audio: 2.2, Text: 2.3, Tabular: 2.3, Features: 2.0}
SHOWN = 4  # frames or views
LINES = 7  # of a text or a table


def contact_sheet(
    inputs: Mapping[str, Any], titles: Sequence[str], modalities: Mapping[str, Modality]
) -> Figure:
    """Draws one row for each sample: its title, then its modalities.

    Pictures are drawn as they are, sound as the log-mel spectrogram that the model sees, of videos
    and views the first four, texts as their tokens, tables as their columns, features as a curve or
    a map. An absent modality is an empty box that says so.

    Args:
        inputs: `{name: (n, …)}` as a dataset gives them, presence included.
        titles: What stands before each sample: its labels.
        modalities: `{name: spec}`, adapted.
    """
    count = len(titles)
    for name in modalities:
        if name not in inputs or len(inputs[name]) != count:
            raise ValueError(
                f"`inputs` must have {count} samples of {name!r}, one for each title. "
                f"Received: { ({key: len(value) for key, value in inputs.items()}) }."
            )
    if not count:
        raise ValueError("`titles` must have at least one sample. Received: none.")
    longest = max(len(line) for title in titles for line in _wrapped(title, TITLE))
    widths = [0.2 + 0.09 * longest, *(_width(spec) for spec in modalities.values())]
    figure = ShownFigure(figsize=(sum(widths) + 0.3, ROW * count + 0.55), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    axes = figure.subplots(count, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
    for row, title in enumerate(titles):
        _write(axes[row, 0], "\n".join(_wrapped(title, TITLE)), weight="bold")
    for column, (name, spec) in enumerate(modalities.items(), start=1):
        present = inputs.get(name + PRESENT)
        values = np.asarray(inputs[name])
        pictures = spectrograms(spec, values) if isinstance(spec, Audio) else values
        for row in range(count):
            here = np.ones(1, bool) if present is None else np.asarray(present[row])
            _draw(axes[row, column], spec, pictures[row], here)
        axes[0, column].set_title(f"{name}\n{type(spec).__name__}", fontsize=9)
    return figure


def _width(spec: Modality) -> float:
    if isinstance(spec, Video | Views):
        return ROW * min(SHOWN, spec.input_shape[0]) * spec.shape[1] / spec.shape[0]
    if isinstance(spec, Image):
        return min(max(ROW * spec.shape[1] / spec.shape[0], 0.8), 4.0)
    return WIDTHS[type(spec)]


def _draw(axes: Axes, spec: Modality, value: np.ndarray, present: np.ndarray) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#BBBBBB", linewidth=0.6)
    if not present.any():
        axes.set_facecolor("#EEEEEE")
        axes.text(
            0.5,
            0.5,
            "absent",
            ha="center",
            va="center",
            color="#777777",
            fontsize=9,
            transform=axes.transAxes,
        )
    elif isinstance(spec, Text):
        _write(axes, "\n".join(_wrapped(_words(spec, value), 30)))
    elif isinstance(spec, Tabular):
        _write(axes, "\n".join(_cells(spec, value)))
    elif isinstance(spec, Audio):
        axes.imshow(value, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=255)
    elif isinstance(spec, Features) and value.ndim == 1:
        axes.plot(value, linewidth=0.8, color="#0072B2")
        axes.margins(x=0.02, y=0.1)
    elif isinstance(spec, Features):
        axes.imshow(value.T, aspect="auto", cmap="cividis")
    else:
        frames = value[None] if value.ndim == 3 else value
        if len(present) == len(frames) > 1:
            frames = frames[present]
        _show(axes, frames[:SHOWN])


def _show(axes: Axes, frames: np.ndarray) -> None:
    """Draws pictures `(n, H, W, C)` 0–255 side by side, with a white line between."""
    frames = as_rgb(frames)
    gap = max(1, frames.shape[2] // 32)
    padded = np.pad(frames, [(0, 0), (0, 0), (0, gap), (0, 0)], constant_values=255)
    axes.imshow(np.concatenate(list(padded), axis=1)[:, :-gap], interpolation="nearest")


def _words(spec: Text, ids: np.ndarray) -> str:
    return ("" if spec.split == "character" else " ").join(words_of(spec, ids))


def _cells(spec: Tabular, row: np.ndarray) -> list[str]:
    cells = [f"{name}: {value:g}" for name, value in zip(spec.numeric, row, strict=False)]
    for (name, tokens), number in zip(
        spec.categorical.items(), row[len(spec.numeric) :], strict=False
    ):
        known = {place + 1: token for place, token in enumerate(tokens or ())}
        cells.append(f"{name}: {known.get(int(number), 'unknown')}")
    return _shortened([textwrap.shorten(cell, 32, placeholder="…") for cell in cells])


def _wrapped(text: str, width: int) -> list[str]:
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, width)]
    return _shortened(lines)


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], "…"]


def _write(axes: Axes, text: str, **style: Any) -> None:
    axes.axis("off")
    # Text in dollar signs would be set as mathematics.
    axes.text(
        0.02,
        0.5,
        text,
        ha="left",
        va="center",
        fontsize=8,
        transform=axes.transAxes,
        parse_math=False,
        **style,
    )
