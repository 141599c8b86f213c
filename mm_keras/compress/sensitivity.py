"""Which branch of a model bears compression, and which does not."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from mm_keras._checks import check_number
from mm_keras.compress.branches import branch_layers
from mm_keras.compress.graph import check_functional, copy_model
from mm_keras.compress.quantize import SPECTROGRAMS, quantize
from mm_keras.compress.report import Metrics, accuracy, evaluate
from mm_keras.compress.variant import variant_of
from mm_keras.compress.weights import compressible, compressible_layers
from mm_keras.models import inference_model

REST = "after fusion"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What compressing one branch alone costs.

    Args:
        branch: A modality, or `"after fusion"`: the layers that see several.
        method: How it was compressed.
        parameters: Number of weights in the branch's kernels and embedding tables.
        metrics: `{name: value}` of the model with this branch compressed.
        change: `{name: that minus the value of the model as it is}`.
    """

    branch: str
    method: str
    parameters: int
    metrics: dict[str, float]
    change: dict[str, float]


def sensitivity(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    sparsity: Sequence[float] = (0.5, 0.8),
    representative: tf.data.Dataset | None = None,
    metrics: Metrics | None = None,
    console: Console | None = None,
) -> list[Cost]:
    """Measures what compressing only one modality's branch costs, branch by branch.

    The branch is compressed at once, without training: an upper bound of what it costs after
    `prune`, and a guide to its `{"image": 0.8, "audio": 0.5}`. A branch is what lies between a
    modality's input and the first layer that sees another modality.

    Args:
        model: A functional `keras.Model`, trained.
        dataset: Batches of `({name: array}, labels)`, which the model has not seen.
        sparsity: Shares of the branch's weights, those of least magnitude in each kernel, that are
            set to zero.
        representative: Training batches: the branch is also quantized to int8, all else in float32.
            `None`: not.
        metrics: See `report`; `None`: accuracy.
        console: Where the table goes; `None`: standard output.

    Returns:
        The costs, branch by branch.

    Raises:
        TypeError: If `model` is no functional model.
        ValueError: If a share is not in [0, 1), or there is nothing to compress.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2, width=8)
    >>> inputs = {"a": np.ones((8, 4)), "b": np.ones((8, 3))}
    >>> test = tf.data.Dataset.from_tensor_slices((inputs, [0, 1] * 4)).batch(4)
    >>> costs = mm.compress.sensitivity(model, test, sparsity=[0.5])
    <BLANKLINE>
    ...
    >>> [(cost.branch, cost.method, cost.parameters) for cost in costs]
    [('a', '50 % zeros', 32), ('b', '50 % zeros', 24), ('after fusion', '50 % zeros', 32)]

    Reference: Han et al., Learning both Weights and Connections for Efficient Neural Networks,
    2015.
    """
    check_functional(model)
    for share in sparsity:
        check_number("sparsity", share, below=1.0)
    shipped = copy_model(inference_model(model))
    branches = _branches(shipped)
    if not branches or not (sparsity or representative is not None):
        raise ValueError(
            "`model` and `sparsity` must leave something to compress. "
            f"Received: branches {sorted(branches)}, sparsity={list(sparsity)}."
        )

    def measured(compressed) -> dict[str, float]:
        values, _ = evaluate(
            {"model": variant_of("model", compressed)}, dataset, metrics or {"accuracy": accuracy}
        )
        return values["model"]

    before = measured(shipped)
    costs = []
    for branch, layers in branches.items():
        weights = [v for layer in layers.values() for v in compressible(layer)]
        values = {}
        for share in sparsity:
            kept = [v.numpy() for v in weights]
            for v in weights:
                v.assign(_pruned(v.numpy(), share))
            values[f"{100 * share:g} % zeros"] = measured(shipped)
            for v, old in zip(weights, kept, strict=True):
                v.assign(old)
        if representative is not None:
            others = sorted({layer.name for layer in shipped.layers} - _own(shipped, branch))
            small = quantize(shipped, representative=representative, keep_float=others)
            values["int8"] = measured(small)
        size = sum(int(np.prod(v.shape)) for v in weights)
        costs += [
            Cost(branch, method, size, found, {key: found[key] - before[key] for key in found})
            for method, found in values.items()
        ]
    (console or Console()).print(_table(costs, before))
    return costs


def _branches(model: keras.Model) -> dict[str, dict[str, keras.layers.Layer]]:
    """Returns `{branch: {path: layer with kernels}}`."""
    owners = branch_layers(model)
    layers = compressible_layers(model)
    found = {
        name: {path: layer for path, layer in layers.items() if id(layer) in ids}
        for name, ids in owners.items()
    }
    taken = set().union(*owners.values())
    found[REST] = {path: layer for path, layer in layers.items() if id(layer) not in taken}
    return {name: kept for name, kept in found.items() if kept}


def _own(model: keras.Model, branch: str) -> set[str]:
    """Returns the names of a branch's layers at the top of a graph, but spectrograms."""
    owners = branch_layers(model)
    taken = set().union(*owners.values())

    def belongs(layer):
        if isinstance(layer, SPECTROGRAMS):
            return False
        parts = {id(layer)}
        if isinstance(layer, keras.Model):  # its layers are in the branch, not itself
            parts = {id(part) for part in layer.layers if part.weights}
        if branch == REST:
            return not parts & taken
        return bool(parts & owners[branch])

    return {layer.name for layer in model.layers if belongs(layer)}


def _pruned(values: np.ndarray, share: float) -> np.ndarray:
    """Returns weights with a share of them, the least, zero."""
    count = round(share * values.size)
    least = np.argsort(np.abs(values), axis=None)[:count]
    pruned = values.copy()
    pruned.flat[least] = 0
    return pruned


def _table(costs: Sequence[Cost], before: dict[str, float]) -> Table:
    shown = Table(title="What compressing one branch alone costs")
    for column in ("branch", "compressed"):
        shown.add_column(column)
    for column in ("parameters", *(f"{k} ({v:.4f} before)" for k, v in before.items())):
        shown.add_column(column, justify="right")
    for cost in costs:
        values = (f"{v:.4f} ({cost.change[k]:+.4f})" for k, v in cost.metrics.items())
        shown.add_row(cost.branch, cost.method, f"{cost.parameters:,}", *values)
    return shown
