"""A finished model for another number of views."""

import dataclasses
from collections.abc import Mapping

import keras

from mm_keras._checks import PRESENT, check_choice, check_int
from mm_keras.layers import ModalityInput, UnfoldBatch
from mm_keras.modalities import Views
from mm_keras.models.inference import modalities_of


def with_views(model: keras.Model, count: int | Mapping[str, int]) -> keras.Model:
    """Returns a model that takes another number of views, with the same layers and weights.

    A network whose views share a backbone has weights that depend on no number of views: one that
    was trained with twelve, or loaded from a file, predicts from three. Training either one trains
    both. Where samples of one batch differ in their number of views, use
    `mm.Views(…, optional_views=True)` instead, and set the presence of those that lack.

    Fewer views give a maximum of another distribution: train with `view_dropout` of
    `mm.build_mvcnn`, or with batches of fewer views, if predictions are to stay good.

    Args:
        model: A functional model of `mm.build_mvcnn`, or of another builder with `mm.Views`.
        count: Number V of views, of all modalities that are `mm.Views`; or `{name: V}` of some.

    Returns:
        A `keras.Model` with inputs `(B, V, H, W, C)`, compiled as `model` is.

    Raises:
        ValueError: If there are no such views, if they have a backbone each, or V is below 1.
        TypeError: If `model` is no functional model, or V no integer.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> twelve = mm.build_mvcnn({"views": mm.Views(12, (8, 8, 1), backbone="SmallCNN")}, 2)
    >>> three = mm.with_views(twelve, 3)
    >>> three.predict({"views": np.zeros((4, 3, 8, 8, 1))}, verbose=0)["label"].shape
    (4, 2)
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise TypeError(
            "`model` must be a functional keras.Model, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    views = {name: spec for name, spec in modalities_of(model).items() if isinstance(spec, Views)}
    counts = _check_counts(views, count)
    specs = {
        name: dataclasses.replace(spec, count=counts.get(name, spec.count))
        for name, spec in views.items()
    }

    shapes = {name: tensor.shape[1:] for name, tensor in model.input.items()}
    for name, spec in specs.items():
        shapes[name] = spec.input_shape
        if spec.optional_views:
            shapes[name + PRESENT] = spec.presence_shape
    inputs = {
        name: keras.Input(shapes[name], dtype=tensor.dtype, name=name)
        for name, tensor in model.input.items()
    }

    views_of: dict[int, int] = {}  # number of views behind a tensor, by its id
    kept = []  # those tensors, so that no other gets their id
    remade: dict[str, dict[int, UnfoldBatch]] = {}  # of a shared encoder: one for each number

    def call(layer, *args, **kwargs):
        given = [views_of[id(t)] for t in keras.tree.flatten((args, kwargs)) if id(t) in views_of]
        if isinstance(layer, ModalityInput) and layer.name.removesuffix("_input") in specs:
            spec = specs[layer.name.removesuffix("_input")]
            layer = ModalityInput(spec, name=layer.name)
            given = [spec.count]
        elif isinstance(layer, UnfoldBatch) and given:
            made = remade.setdefault(layer.name, {})
            name = f"{layer.name}_{given[0]}" if made else layer.name
            layer = made.setdefault(given[0], UnfoldBatch(given[0], name=name))
        outputs = layer(*args, **kwargs)
        if given:
            kept.append(outputs)
            views_of.update((id(t), given[0]) for t in keras.tree.flatten(outputs))
        return outputs

    return keras.models.clone_model(
        model, input_tensors=inputs, clone_function=_shared_or_new, call_function=call
    )


def _shared_or_new(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the layer itself if it has weights; others may remember a shape, as Reshape does."""
    if layer.variables or isinstance(layer, keras.Model):
        return layer
    return type(layer).from_config(layer.get_config())


def _check_counts(views: Mapping[str, Views], count) -> dict[str, int]:
    """Returns `{name: V}` of the modalities that change."""
    if not views:
        raise ValueError("`model` must have a modality that is mm.Views. Received: none.")
    if not isinstance(count, Mapping):
        check_int("count", count)
        count = dict.fromkeys(views, count)
    for name, number in count.items():
        check_choice("count", name, list(views))
        check_int(f"count[{name!r}]", number)
        if not views[name].shared:
            raise ValueError(
                "`count` must leave out views that have a backbone each: there are as many views "
                f"as backbones. Received: {name!r}, which is {views[name]!r}."
            )
    return dict(count)
