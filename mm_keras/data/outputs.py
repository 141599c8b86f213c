"""Which outputs of a model need labels."""

from collections.abc import Mapping

import keras


def outputs_with_loss(model: keras.Model) -> set[str] | None:
    """Returns the names of the outputs that are trained; `None`: it is not compiled with a loss.

    Args:
        model: A functional `keras.Model` with a dict of outputs.
    """
    loss = model.loss if model.compiled else None
    if loss is None:
        return None
    if isinstance(loss, Mapping):
        return {name for name, one in loss.items() if one is not None}
    return set(model.output)  # one loss is that of every output


def has_metrics(model: keras.Model) -> bool:
    """Whether it is compiled with metrics, of whichever output."""
    return any(metric.name == "compile_metrics" for metric in model.metrics)
