"""Heat maps over spectrograms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm_keras.modalities import Audio
from mm_keras.plots.heat import NOTHING, add_scale, check_rows, draw_heat, heat_scale
from mm_keras.plots.image_heatmap import HEAT
from mm_keras.plots.spectrograms import spectrograms
from mm_keras.plots.style import ShownFigure

TICKS = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000)  # Hz


def spectrogram_heatmap(
    spec: Audio,
    sound: Any,
    heatmaps: Any,
    titles: Sequence[str] | None = None,
    title: str = "",
    label: str = HEAT,
) -> Figure:
    """Draws a row for each sample: the log-mel spectrogram, and that in grey under its heat map.

    Time is in seconds, at the middle of a frame; frequency in Hz, on the mel scale of the bins. A
    note stands above a heat map that is 0 throughout, as in `image_heatmap`.

    Args:
        spec: Of the sound.
        sound: Waveforms `(n, samples)`.
        heatmaps: `(n, T, mel)`: of `mm.evaluate.grad_cam` or `mm.evaluate.integrated_gradients`.
        titles: What stands above each sample.
        title: Of the figure.
        label: Of the colour bar, with its unit.
    """
    sound, heatmaps = np.asarray(sound, "float32"), np.asarray(heatmaps)
    titles = check_rows(heatmaps, titles, sound=sound)
    pictures = spectrograms(spec, sound)  # (n, mel, T)
    heat = np.moveaxis(heatmaps, 1, -1)
    if heat.shape != pictures.shape:
        raise ValueError(
            f"`heatmaps` must be (n, {pictures.shape[2]}, {pictures.shape[1]}), the frames and mel "
            f"bins of the spec. Received shape: {heatmaps.shape}."
        )
    scale = heat_scale(heat)
    count = len(sound)
    figure = ShownFigure(figsize=(8.5, 1.9 * count + 0.9), layout="constrained")
    axes = figure.subplots(count, 2, squeeze=False, sharex=True, sharey=True)
    frames = pictures.shape[2]
    step = spec.frame_step / spec.sample_rate  # Keras centres the first frame on the first sample
    extent = (-step / 2, (frames - 0.5) * step, -0.5, spec.mel_bins - 0.5)
    options = {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "nearest"}
    for row, (plain, hot) in enumerate(axes):
        plain.imshow(pictures[row], cmap="magma", vmin=0, vmax=255, **options)
        draw_heat(hot, pictures[row], heat[row], scale, **options)
        plain.set_title(titles[row], fontsize=10)
        if not heat[row].any():
            hot.set_title(NOTHING, fontsize=9)
        plain.set_ylabel("frequency (Hz)")
    _set_frequencies(axes[0, 0], spec)
    for one in axes[-1]:
        one.set_xlabel("time (s)")
    figure.suptitle(f"{title or 'Where the model listened'} (n = {count})", fontsize=11)
    add_scale(figure, axes, scale, label)
    return figure


def _set_frequencies(axes: Axes, spec: Audio) -> None:
    """Sets ticks in Hz at their places among the bins."""
    highest = spec.max_freq or spec.sample_rate / 2
    low, high = _mel(spec.min_freq), _mel(highest)
    step = (high - low) / (spec.mel_bins + 1)  # the centres lie between the edges, evenly in mel
    # A tick every sixth of the height, at least.
    ticks, places = [], []
    for tick in TICKS:
        place = (_mel(tick) - low) / step - 1
        if -0.5 <= place <= spec.mel_bins - 0.5 and (
            not places or place - places[-1] > spec.mel_bins / 7
        ):
            ticks.append(tick)
            places.append(place)
    axes.set_yticks(places, [f"{tick:,}" for tick in ticks])


def _mel(frequency: float) -> float:
    """The scale of `keras.layers.MelSpectrogram` (HTK)."""
    return 1127.0 * np.log1p(frequency / 700.0)
