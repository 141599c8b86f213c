"""How a model fares when one of its modalities goes bad."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mm_keras.evaluate import RobustnessCurve
from mm_keras.plots.style import COLOURS, ShownFigure

STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^v"


def robustness_chart(
    curves: Sequence[RobustnessCurve] | Mapping[str, Sequence[RobustnessCurve]],
    metric: str = "accuracy",
    title: str = "",
) -> Figure:
    """Draws `mm.evaluate.robustness_curves` of one model or of several: a panel a modality.

    Args:
        curves: Of one model, as `mm.evaluate.robustness_curves` returns them; or, of several,
            `{name of the model: its curves}`.
        metric: Its name, for the axis.
        title: Of the figure.
    """
    if not isinstance(curves, Mapping):
        curves = {"": curves}
    every = [curve for own in curves.values() for curve in own]
    if not every:
        raise ValueError("`curves` must have a curve of some model. Received: none.")
    modalities = sorted({curve.modality for curve in every})
    figure = ShownFigure(figsize=(1.5 + 3.5 * len(modalities), 4), layout="constrained")
    panels = figure.subplots(1, len(modalities), sharey=True, squeeze=False)[0]
    for axes, modality in zip(panels, modalities, strict=True):
        kinds = sorted({curve.corruption for curve in every if curve.modality == modality})
        for index, (name, own) in enumerate(curves.items()):
            for curve in own:
                if curve.modality != modality:
                    continue
                kind = kinds.index(curve.corruption)
                label = curve.corruption if len(curves) == 1 else f"{name}, {curve.corruption}"
                axes.plot(
                    curve.severities,
                    curve.values,
                    color=COLOURS[(index if len(curves) > 1 else kind) % len(COLOURS)],
                    linestyle=STYLES[kind % len(STYLES)],
                    marker=MARKERS[kind % len(MARKERS)],
                    markersize=4,
                    label=label,
                )
        axes.set(xlabel="severity", title=modality)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel(metric)
    figure.suptitle(title or "One modality corrupted at a time")
    return figure
