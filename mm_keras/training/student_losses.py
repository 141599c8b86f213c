"""A loss for every student."""

from collections.abc import Mapping
from typing import Any

import keras

from mm_keras.layers import Ensemble
from mm_keras.losses import classification


def student_losses(model: keras.Model, loss: Any = None) -> dict[str, Any]:
    """Returns what `compile(loss=…)` should be for a model of `mm.build_dml`.

    Every student gets the loss of its head. The ensemble gets none, since it would train the
    students jointly, through their mean.

    Args:
        model: Of `mm.build_dml`, or made by hand with an `mm.layers.Ensemble` named after the head.
        loss: A loss for all heads, or `{head: loss}`. A head left out has the usual one:
            cross-entropy for classes and labels, the squared error for numbers.

    Returns:
        `{student's output: loss}`.

    Raises:
        ValueError: If the model has no students, or `loss` names another head.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_dml({"image": mm.Features(8), "audio": mm.Features(6)}, num_classes=10)
    >>> sorted(mm.training.student_losses(model))
    ['audio', 'image']
    """
    ensembles = {layer.name: layer for layer in model.layers if isinstance(layer, Ensemble)}
    if not ensembles or not isinstance(model.output, Mapping):
        raise ValueError(
            "`model` must have students and their ensemble, as build_dml makes it. "
            f"Received: {model.name!r}, which has none."
        )
    if not isinstance(loss, Mapping):
        loss = {} if loss is None else dict.fromkeys(ensembles, loss)
    unknown = sorted(set(loss) - set(ensembles))
    if unknown:
        raise ValueError(
            f"`loss` must name heads out of {sorted(ensembles)}. Received also: {unknown}."
        )
    return {
        student if len(ensembles) == 1 else f"{student}_{head}": loss.get(head) or _usual(ensemble)
        for head, ensemble in ensembles.items()
        for student in ensemble.names
    }


def _usual(ensemble: Ensemble) -> keras.losses.Loss:
    if ensemble.activation == "softmax":
        return classification(from_logits=ensemble.logits)
    if ensemble.activation == "sigmoid":
        return keras.losses.BinaryCrossentropy(from_logits=ensemble.logits)
    return keras.losses.MeanSquaredError()
