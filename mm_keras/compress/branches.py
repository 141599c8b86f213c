"""Which layers of a graph belong to one modality."""

import dataclasses

import keras
from keras import tree

from mm_keras._checks import PRESENT
from mm_keras._graphs import Runner
from mm_keras.models import inference_model


def branch_layers(model: keras.Model) -> dict[str, set[int]]:
    """Returns `{modality: ids of the layers in its branch}`.

    A branch is what lies between a modality's input and the first layer that sees another modality.
    A layer that is called for several modalities, such as a shared backbone, is in the branch of
    each. `<name>_present` belongs to `<name>`. What serves training only is not counted: it may see
    all modalities early on.
    """
    shipped = inference_model(model)
    names: dict[str, None] = {}
    seen: dict[int, list[frozenset]] = {}

    def modality(x):
        name = x.name.removesuffix(PRESENT)
        names[name] = None
        return _Seen(frozenset([name]))

    def emit(op, args, kwargs, path, outputs):
        values = [x for x in tree.flatten((args, kwargs)) if isinstance(x, _Seen)]
        union = frozenset().union(*(x.names for x in values))
        seen.setdefault(id(op), []).append(union)
        return tree.map_structure(lambda _: _Seen(union), outputs)

    inputs = tree.map_structure(modality, shipped.input)
    Runner(emit, lambda value, mask: _Seen(value.names | mask.names)).run(shipped, inputs)
    return {
        name: {op for op, calls in seen.items() if {name} in calls and max(map(len, calls)) == 1}
        for name in names
    }


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Stands for a tensor: the modalities that it depends on."""

    names: frozenset
