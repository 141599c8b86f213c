"""Which layers of a model a modality has, or a name means."""

import fnmatch
from collections.abc import Iterable, Mapping

import keras

from mm_keras._checks import PRESENT, nearest
from mm_keras._graphs import layer_sources


def layers_of(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    """Returns the layers with weights that a name means.

    Args:
        model: Functional, of a builder or made by hand.
        name: Of a modality, that is, of an input: its encoder, which is whatever depends on this
            input alone and comes before what joins it with another; auxiliary heads are no part of
            it. A text's embedding, a picture's backbone and projection are. Or the name of a layer,
            `"image_backbone"`, with wildcards too, `"*_backbone"`.

    Raises:
        TypeError: If `model` is not functional, or `name` no text.
        ValueError: If nothing has that name, or its layers have no weights, or the modality shares
            its encoder with another: name that layer.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"image": mm.Features(8), "audio": mm.Features(6)}, 10)
    >>> [layer.name for layer in mm.training.layers_of(model, "image")]
    ['image_projection']
    >>> [layer.name for layer in mm.training.layers_of(model, "*_projection")]
    ['audio_projection', 'image_projection']
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise TypeError(
            "`model` must be a functional keras.Model, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    if not isinstance(name, str):
        raise TypeError(f"`name` must be that of a modality or of layers. Received: {name!r}.")
    inputs = {tensor.name for tensor in model.inputs}
    known = {layer.name: layer for layer in model.layers if layer.weights}
    if name in inputs:
        found = _encoder(model, name, inputs)
    else:
        found = fnmatch.filter([layer.name for layer in model.layers], name)
        if not found:
            choices = sorted(inputs | {*known})
            raise ValueError(
                "`name` must be that of a modality or of layers, which may have wildcards, out of "
                f"{choices}.{nearest(name, choices)} Received: name={name!r}."
            )
    layers = [known[layer] for layer in found if layer in known]
    if not layers:
        reason = (
            "which has an encoder without weights, or shares it with another modality: name layers "
            "instead, which may have wildcards"
            if name in inputs
            else "which has none"
        )
        raise ValueError(
            f"`name` must be that of a modality or of layers with weights, out of {sorted(known)}. "
            f"Received: name={name!r}, {reason}."
        )
    return layers


def _encoder(model: keras.Model, name: str, inputs: Iterable[str]) -> list[str]:
    """Returns the names of the layers between an input and the first that see other inputs too."""
    sources = layer_sources(model)
    origins = {
        layer: {layer.removesuffix(PRESENT)} if layer in inputs else set() for layer in sources
    }
    _spread(sources, origins)
    own = {layer for layer, found in origins.items() if found == {name}}
    joined = [layer for layer, found in origins.items() if len(found) > 1]
    if not joined:
        return [layer for layer in sources if layer in own]
    users: dict[str, list[str]] = {layer: [] for layer in sources}
    for layer, given in sources.items():
        for source in given:
            users[source].append(layer)
    joins = {layer: {layer} & {*joined} for layer in sources}
    _spread(users, joins)
    return [layer for layer in sources if layer in own and joins[layer]]


def _spread(edges: Mapping[str, Iterable[str]], marks: dict[str, set[str]]) -> None:
    """Gives each layer the marks of the layers that it has edges to, and of theirs."""
    changed = True
    while changed:  # a layer may be called twice: layers need not have an order
        changed = False
        for layer, others in edges.items():
            found = marks[layer].union(*(marks[other] for other in others))
            if found != marks[layer]:
                marks[layer], changed = found, True
