"""Where the tensors of a graph come from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import tree

from mm_keras.layers import FoldBatch, UnfoldBatch


@dataclasses.dataclass(frozen=True)
class Origin:
    """Stands for a tensor: where it comes from.

    Args:
        names: Of the modalities that it depends on.
        shape: Of the tensor.
        dtype: Of the tensor.
        grid: The axes of its positions, `(h, w)`, `(V, h, w)` or `(N,)`, as far as they are known.
        views: Number of frames or views that are folded into the batch; 0: none are.
        learnt: Whether a layer with weights lies before it.
    """

    names: frozenset[str]
    shape: tuple[int | None, ...] = ()
    dtype: str = "float32"
    grid: tuple[int, ...] = ()
    views: int = 0
    learnt: bool = False


def origins_in(structure: Any) -> list[Origin]:
    """Returns what stands for tensors in a structure of arguments or outputs."""
    return [x for x in tree.flatten(structure) if isinstance(x, Origin)]


def merged_origin(op, given: list[Origin], output: keras.KerasTensor) -> Origin:
    """Returns where the output of a call comes from."""
    names = frozenset().union(*(origin.names for origin in given))
    learnt = any(origin.learnt for origin in given) or bool(getattr(op, "weights", None))
    views = max(origin.views for origin in given)
    shape = tuple(output.shape)
    grid = next((x.grid for x in given if x.grid), ()) if len(names) == 1 else ()
    if isinstance(op, FoldBatch):
        views = given[0].shape[1]
    elif isinstance(op, UnfoldBatch):
        views, grid = 0, (op.count, *shape[2:-1])
    if len(shape) == 5:
        grid = shape[1:-1]
    elif len(shape) == 4:
        grid = (views, *shape[1:-1]) if views else shape[1:-1]
    return Origin(names, shape, output.dtype, grid, views, learnt)


def origins_of(outputs: Any, features: Mapping[str, Any], merged: Origin) -> Any:
    """Returns origins of the outputs; what a layer returns by the name of a modality stays it."""
    if isinstance(outputs, tuple | list):
        return type(outputs)(origins_of(part, features, merged) for part in outputs)
    if isinstance(outputs, Mapping):
        return {
            name: dataclasses.replace(features[name], learnt=True)
            if _same_sequence(value, features.get(name))
            else origins_of(value, features, merged)
            for name, value in outputs.items()
        }
    return tree.map_structure(
        lambda x: dataclasses.replace(merged, shape=tuple(x.shape), dtype=x.dtype), outputs
    )


def _same_sequence(tensor: Any, origin: Any) -> bool:
    """Returns whether a tensor has the positions of a sequence `(B, N, D)`."""
    return (
        isinstance(tensor, keras.KerasTensor)
        and isinstance(origin, Origin)
        and len(tensor.shape) == len(origin.shape) == 3
        and tensor.shape[1] == origin.shape[1]
    )
