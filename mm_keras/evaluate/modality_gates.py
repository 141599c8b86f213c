"""How much of each modality the gates of a model let through."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_choice
from mm_keras.evaluate.explained import Explained
from mm_keras.evaluate.samples import Arrays
from mm_keras.layers import ModalityGate


class Gates(NamedTuple):
    """Gates of samples.

    Args:
        values: `{modality, or branch: (n,)}` in [0, 1]; a sample's sum is 1, or 0 where nothing is
            present.
        present: `{modality: (n,)}` bool.
        positions: `{modality: (n, N)}`, gates of every position; `None` where a modality has one
            gate.
    """

    values: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    positions: dict[str, np.ndarray] | None

    @property
    def means(self) -> dict[str, float]:
        """`{modality: mean gate of the samples that have it}`; NaN where none has."""
        return {name: _mean(self.values[name][here]) for name, here in self.present.items()}

    @property
    def chosen(self) -> dict[str, float]:
        """`{modality: share of the samples that have it whose gate is above 0}`."""
        return {name: _mean(self.values[name][here] > 0) for name, here in self.present.items()}


def modality_gates(
    model: keras.Model, inputs: Any, layer: str | None = None, batch_size: int = 32
) -> Gates:
    """Collects the gates of `mm.build_dfn`, or of a graph with an `mm.layers.ModalityGate`.

    Gates say how the features were scaled in this sample. They are no measure of importance: later
    weights can scale back. `mm.evaluate.shapley_values` is one.

    Args:
        model: A functional model.
        inputs: `{name: (n, …)}`; or batches of them, or of tuples that begin with them.
        layer: Name of the gate; `None`: the only one.
        batch_size: Of whole arrays.

    Raises:
        ValueError: If there is no such gate, or several and no `layer`.
        TypeError: If the model is not functional.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_dfn({"image": mm.Features(6), "sound": mm.Features(4)}, 3)
    >>> inputs = {"image": np.ones((5, 6)), "sound": np.ones((5, 4))}
    >>> mm.evaluate.modality_gates(model, inputs).means
    {'image': 0.5, 'sound': 0.5}

    Reference: Xue & Marculescu, Dynamic Multimodal Fusion, 2023.
    """
    explained = Explained(model)
    steps = {s.key[0]: s for s in explained.steps if isinstance(s.op, ModalityGate)}
    if not steps:
        raise ValueError(
            "`model` must have gates, mm.layers.ModalityGate, as mm.build_dfn makes them. "
            f"Received: {model.name!r}, which has none."
        )
    if layer is None and len(steps) > 1:
        raise ValueError(f"`layer` must name one of the gates {list(steps)}. Received: None.")
    layer = next(iter(steps)) if layer is None else layer
    check_choice("layer", layer, list(steps))
    step = steps[layer]
    names, by_position = step.op.names, step.op.level == "position"

    def explain(batch: Arrays, _: int) -> Arrays:
        found = {}

        def call(op, args, kwargs):
            options = {"return_positions": True} if by_position else {}
            outputs = op(*args, **{**kwargs, **options})
            found.update(
                {
                    name: ops.convert_to_numpy(outputs[name])
                    for name in ("gates", "present", "positions")
                    if name in outputs
                }
            )
            return {name: outputs[name] for name in ("features", "gates", "present")}

        explained.run(batch, {step.key: call})
        return found

    found = explained.collect(inputs, batch_size, explain)
    values, present = (
        dict(zip(names, found[part].T, strict=True)) for part in ("gates", "present")
    )
    positions = None
    if by_position:
        positions = dict(zip(names, np.moveaxis(found["positions"], -1, 0), strict=True))
    return Gates(values, present, positions)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
