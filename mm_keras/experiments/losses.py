"""Which output of a model learns by which loss."""

from collections.abc import Mapping
from typing import Any

import keras

from mm_keras.experiments.config import Experiment
from mm_keras.losses import InformationMaximization, MaximumMeanDiscrepancy, classification
from mm_keras.models import Head
from mm_keras.training import student_losses

DOMAIN = "domain"


def losses_of(model: keras.Model, experiment: Experiment, heads: Mapping[str, Head]) -> dict:
    """Returns `{output: loss}` for a model of any builder.

    Heads, auxiliary heads and students have the loss of their head, discriminators that of classes;
    gates, attention maps, embeddings and the like have none, nor has an ensemble of students.

    Args:
        model: Made by the experiment's builder, or the graph of it that ships.
        experiment: Says the loss, where it is not the usual one.
        heads: `{name: head}`.
    """
    given = experiment.loss
    if not isinstance(given, Mapping):
        given = {} if given is None else dict.fromkeys(heads, given)
    by_head: dict[str, Any] = {
        name: given.get(name) or head.make_loss() for name, head in heads.items()
    }
    if experiment.builder == "build_dml":
        return student_losses(model, by_head)
    losses = {}
    for output in model.output:
        head = next((h for h in heads if output == h or output.endswith(f"_{h}")), None)
        if head is not None:
            losses[output] = by_head[head]
        elif experiment.builder == "build_afe":
            losses[output] = _domain_loss(output, experiment, heads)
    return losses


def _domain_loss(output: str, experiment: Experiment, heads) -> keras.losses.Loss:
    if output.removesuffix(f"_{DOMAIN}") in heads:
        return InformationMaximization()
    if experiment.options.get("method") == "mmd":
        return MaximumMeanDiscrepancy()
    return classification()
