"""Which weights of a layer pruning and clustering work on, and what they look like."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from mm_keras._checks import nearest
from mm_keras.compress.graph import check_functional, walk

SPARSE = 0.05  # a kernel with this share of zeros counts as pruned
Layers = Sequence[str] | Callable[[keras.layers.Layer], bool] | None

# Convolutions with one kernel a channel lose much accuracy for few zeros: TFMOT leaves them, too.
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def compressible(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the kernels and embedding tables of a layer and its parts, without depthwise ones.

    Biases, scales, positions and other small weights stay as they are.
    """
    if isinstance(layer, _DEPTHWISE):
        return []
    return [
        v
        for v in layer.weights
        if len(v.shape) > 1
        and "float" in v.dtype
        and ("kernel" in v.name or "embeddings" in v.name)
        and "depthwise" not in v.name
    ]


def compressible_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns `{path: layer}` of the layers of a graph that have such weights, each once."""
    found, seen = {}, set()
    for layer, path in walk(model, wrapped=False):
        if isinstance(layer, keras.Model) or id(layer) in seen:
            continue
        seen.add(id(layer))
        if compressible(layer):
            found[path] = layer
    return found


def select_layers(model: keras.Model, layers: Layers) -> dict[str, keras.layers.Layer]:
    """Returns `{path: layer}` of those layers with kernels or tables that are asked for.

    Raises:
        TypeError: If `layers` is a string.
        ValueError: If a name belongs to no such layer, or no layer is left.
    """
    known = compressible_layers(model)
    if layers is None or callable(layers):
        chosen = {p: layer for p, layer in known.items() if layers is None or layers(layer)}
    else:
        if isinstance(layers, str):
            raise TypeError(f"`layers` must be a sequence of names. Received: layers={layers!r}.")
        chosen = {}
        for name in layers:
            found = {p: layer for p, layer in known.items() if name in (p, layer.name)}
            if not found:
                raise ValueError(
                    "`layers` must name layers with kernels or embedding tables."
                    f"{nearest(name, known)} Received: {name!r}, out of {sorted(known)}."
                )
            chosen |= found
    if not chosen:
        raise ValueError(
            f"`layers` must choose at least one of {sorted(known)}. Received: layers={layers!r}."
        )
    return chosen


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """How many of a model's weights are zero.

    Args:
        layers: `{path of a layer: share of zeros in its kernels and embedding tables}`.
        overall: Share of zeros in all of these together.
    """

    layers: dict[str, float]
    overall: float


def sparsity(model: keras.Model) -> Sparsity:
    """Returns the share of zeros in the kernels and embedding tables of a functional model.

    These are the weights that `prune` prunes; biases and the like are not counted.

    Args:
        model: A functional `keras.Model`.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If it is not functional, or has no such weights.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> mm.compress.sparsity(model)
    Sparsity(layers={'a_projection': 0.0, 'b_projection': 0.0, 'label_logits': 0.0}, overall=0.0)
    """
    shares, zeros, size = {}, 0, 0
    for path, layer in _checked_layers(model).items():
        values = [v.numpy() for v in compressible(layer)]
        count, total = sum((v == 0).sum() for v in values), sum(v.size for v in values)
        shares[path] = float(count / total)
        zeros, size = zeros + count, size + total
    return Sparsity(shares, float(zeros / size))


def zeros_in(model: keras.Model) -> int:
    """Returns how many of these weights are zero."""
    layers = compressible_layers(model).values()
    return sum(int((v.numpy() == 0).sum()) for layer in layers for v in compressible(layer))


def unique_weights(model: keras.Model) -> dict[str, int]:
    """Returns `{path of a weight: number of different values}` of kernels and embedding tables.

    Args:
        model: A functional `keras.Model`.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If it is not functional, or has no such weights.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2, width=8)
    >>> mm.compress.unique_weights(model)["a_projection/kernel"]
    32
    """
    return {
        weight_path(path, layer, v): len(np.unique(v.numpy()))
        for path, layer in _checked_layers(model).items()
        for v in compressible(layer)
    }


def weight_path(path: str, layer: keras.layers.Layer, weight: keras.Variable) -> str:
    """Returns the path of a weight: that of its layer in the graph, then its own within."""
    start = f"{layer.name}/"
    own = weight.path
    own = own[own.index(start) + len(start) :] if start in own else weight.name
    return f"{path}/{own}"


def _checked_layers(model):
    check_functional(model)
    layers = compressible_layers(model)
    if not layers:
        raise ValueError(
            "`model` must have kernels or embedding tables. "
            f"Received: {model.name!r}, which has none."
        )
    return layers
