"""Weights of one model for another."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras

from mm_keras.models.inference import modalities_of


class Transfer(NamedTuple):
    """What `transfer_weights` did.

    Args:
        copied: `{layer of the target: layer of the source}`.
        skipped: `{layer of the target: why it keeps its own weights}`.
    """

    copied: dict[str, str]
    skipped: dict[str, str]


def transfer_weights(
    source: keras.Model,
    target: keras.Model,
    layers: Sequence[str] | Mapping[str, str] | None = None,
) -> Transfer:
    """Copies the weights of layers, backbones for instance, from one model into another.

    Layers of the builders are named after their modality: `"image_backbone"`,
    `"image_projection"`. Nothing is frozen: that is the spec's `trainable`.

    Args:
        source: A trained model.
        target: The model that gets the weights.
        layers: Names of layers, `"image_*"` for all that start so; or, where they are named
            otherwise in the source, `{layer of the target: layer of the source}`. Each must fit.
            `None`: all that fit under the same name; those that don't are skipped.

    Returns:
        `(copied, skipped)`: what was, and what was not, copied, and why.

    Raises:
        ValueError: If a layer that was asked for is in neither model, has other weights there, or
            embeds texts of another vocabulary; or if no layer fits. No weight has changed then.
        TypeError: If `layers` is a single string.

    Example:

    >>> import mm_keras as mm
    >>> source = mm.build_mcnn({"image": mm.Image((8, 8, 1), backbone="SmallCNN")}, 10)
    >>> target = mm.build_mcnn({"image": mm.Image((8, 8, 1), backbone="SmallCNN")}, 3)
    >>> done = mm.transfer_weights(source, target)
    >>> sorted(done.copied)
    ['image_backbone', 'image_projection']
    >>> done.skipped["label_logits"]
    'kernel (128, 10), bias (10,) there, kernel (128, 3), bias (3,) here'

    Reference: Yosinski et al., How Transferable Are Features in Deep Neural Networks?, 2014.
    """
    here = {layer.name: layer for layer in target.layers if layer.weights}
    there = {layer.name: layer for layer in source.layers if layer.weights}
    pairs = _pairs(layers, here)
    copied, skipped = {}, {}
    for name, other in pairs.items():
        reason = _obstacle(here.get(name), there.get(other))
        if not reason and _vocabulary(target, name) != _vocabulary(source, other):
            reason = "texts of another vocabulary: give both specs the same one"
        if reason:
            skipped[name] = reason
        else:
            copied[name] = other
    if not copied or (skipped and layers is not None):
        raise ValueError(
            f"`layers` must name layers that {source.name!r} and {target.name!r} both have, with "
            f"the same weights. Received: layers={layers!r}. What does not fit: {skipped}. "
            f"Layers with weights there: {sorted(there)}, here: {sorted(here)}."
        )
    for name, other in copied.items():
        here[name].set_weights(there[other].get_weights())
    return Transfer(copied, skipped)


def _pairs(layers, here) -> dict[str, str]:
    """Returns `{layer of the target: layer of the source}`."""
    if layers is None:
        return {name: name for name in here}
    if isinstance(layers, str):
        raise TypeError(
            f"`layers` must be a sequence of names, or a dict. Received: layers={layers!r}; "
            "put it in a list."
        )
    if isinstance(layers, Mapping):
        return dict(layers)
    pairs = {}
    for name in layers:
        pairs |= {found: found for found in fnmatch.filter(here, name) or [name]}
    return pairs


def _obstacle(here, there) -> str:
    """Returns why a layer's weights don't fit another, or an empty string."""
    if here is None or there is None:
        return "not in the target" if here is None else "not in the source"
    if _shapes(here) == _shapes(there):
        return ""
    if len(here.weights) != len(there.weights):
        return f"{len(there.weights)} weights there, {len(here.weights)} here"
    pairs = zip(_shapes(there), _shapes(here), strict=True)
    differing = [(one, other) for one, other in pairs if one != other]
    one, other = (
        ", ".join(f"{name} {shape}" for name, shape in side)
        for side in zip(*differing, strict=True)
    )
    return f"{one} there, {other} here"


def _shapes(layer) -> list[tuple[str, tuple[int, ...]]]:
    return [(weight.name, tuple(weight.shape)) for weight in layer.weights]


def _vocabulary(model: keras.Model, layer: str) -> tuple[str, ...]:
    """Returns the words that a text backbone embeds; others have none."""
    for name, spec in modalities_of(model).items():
        if f"_{layer}".endswith(f"_{name}_backbone"):  # peers have a prefix
            return getattr(spec, "vocabulary", ())
    return ()
