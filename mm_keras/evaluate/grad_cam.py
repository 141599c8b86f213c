"""Where in a picture, or a sound, a class was seen."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_bool, nearest
from mm_keras.encoders import AudioEncoder
from mm_keras.evaluate.explained import Explained, Step, cleared
from mm_keras.evaluate.gradients import gradients
from mm_keras.evaluate.samples import Arrays
from mm_keras.modalities import Audio, Modality, Video, Views
from mm_keras.models.cheap import PREFIX

SHOWN = 40  # layers in an error message


class GradCam(NamedTuple):
    """Heat maps, each sample's largest value 1.

    Args:
        heatmaps: `(n, H, W)` in [0, 1]; of views and videos `(n, V, H, W)`; of sound
            `(n, T, mel)`, as the spectrogram is.
        classes: `(n,)`: the class that was explained.
        layer: Path of the layer whose feature map it is.
    """

    heatmaps: np.ndarray
    classes: np.ndarray
    layer: str


def grad_cam(
    model: keras.Model,
    inputs: Any,
    modality: str,
    head: str = "label",
    target: str | int | np.ndarray = "predicted",
    layer: str | None = None,
    logits: bool = True,
    batch_size: int = 32,
) -> GradCam:
    """Shows where in a modality the model saw a class.

    `relu(Σ_k α_k A_k)`, A the channels of a feature map and `α_k` the mean gradient of the class's
    output over the positions of channel k; then scaled up to the size of the picture. The map of a
    nested backbone is found too. Each sample's map is divided by its maximum; where nothing speaks
    for the class, or the modality is absent, it is zero.

    Args:
        model: A functional model, from a builder or made by hand.
        inputs: `{name: (n, …)}`; an array, of a model with one input; or batches of either.
        modality: Name of the modality: an image, sound, video or views. Or that of any input that
            leads to feature maps.
        head: Name of the output, `(B, C)`; `"output"` if the model's has no name.
        target: The class that is explained: `"predicted"`, a number, or numbers `(n,)`.
        layer: Name or path of the layer whose output is the map, e.g. `"stage2_pool"` or
            `"image_backbone/stage2_pool"`: earlier maps are finer, and know less. `None`: the last
            map of the modality's branch, before views are pooled; where several backbones look at
            a modality, that of the last. The result says which it was.
        logits: Whether the output before the activation of the head is explained, as in the paper,
            where there is one.
        batch_size: Of whole arrays.

    Raises:
        ValueError: If there is no such modality, head, class or layer, or no map `(B, h, w, C)`.
        TypeError: If the model is not functional.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn(
    ...     {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "sound": mm.Features(4)}, 3
    ... )
    >>> inputs = {"image": np.random.uniform(0, 255, (5, 8, 8, 1)), "sound": np.ones((5, 4))}
    >>> found = mm.evaluate.grad_cam(model, inputs, "image", layer="stage1_pool")
    >>> found.heatmaps.shape, found.layer
    ((5, 8, 8), 'image_backbone/stage1_pool')

    Reference: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization, 2017.
    """
    explained = Explained(model, head)
    explained.check_modality("modality", modality)
    check_bool("logits", logits)
    step = _choose(explained, modality, layer)
    spec, size = explained.specs.get(modality), _size(explained, modality)
    changes = explained.before_activation() if logits else {}

    def explain(batch: Arrays, start: int) -> Arrays:
        classes = explained.classes(batch, target, start)
        maps, slopes = _maps(explained, step, changes, batch, classes)
        maps, slopes = (_by_view(x, spec, step, len(classes)) for x in (maps, slopes))
        weights = slopes.mean(axis=(-3, -2), keepdims=True)
        heat = np.maximum((weights * maps).sum(axis=-1), 0.0)
        heat = cleared(batch, modality, heat if size is None else _resized(heat, size))
        return {"heat": _normalised(heat), "of": classes}

    found = explained.collect(inputs, batch_size, explain)
    return GradCam(found["heat"], found["of"], step.key[0])


def _maps(explained: Explained, step: Step, changes, batch: Arrays, classes: np.ndarray):
    """Returns the feature map and the gradient with respect to it."""
    folded = max(step.origins.views, 1)
    nothing = np.zeros((folded * len(classes), *step.outputs.shape[1:]), "float32")

    def value(tensors):
        kept = {}

        def add(op, args, kwargs):
            x = op(*args, **kwargs)
            kept["map"] = ops.cast(x, "float32")
            return x + ops.cast(tensors[0], x.dtype)

        scores = explained.score(batch, classes, {**changes, step.key: add})
        return ops.sum(scores), kept["map"]

    maps, (slopes,) = gradients(value, [nothing])
    return maps, slopes


def _choose(explained: Explained, modality: str, layer: str | None) -> Step:
    """Returns the call whose output is the map."""
    steps = [step for step in explained.steps if _is_map(step, modality)]
    spec = explained.specs.get(modality)
    if layer is not None:
        named = [s for s in steps if layer in (s.key[0], s.key[0].rsplit("/", 1)[-1])]
        paths = sorted({step.key[0] for step in named})
        if len(paths) > 1:
            raise ValueError(f"`layer` must be one of {paths}. Received: layer={layer!r}.")
        if not named:
            paths = list(dict.fromkeys(step.key[0] for step in steps))
            shown = paths if len(paths) <= SHOWN else [*paths[:3], "…", *paths[-3:]]
            hint = nearest(layer, paths) or nearest(layer, [p.rsplit("/", 1)[-1] for p in paths])
            raise ValueError(
                f"`layer` must name a layer of the branch of {modality!r} whose output is a map "
                f"(B, h, w, C): {shown}.{hint} Received: layer={layer!r}."
            )
        return named[-1]
    steps = [step for step in steps if step.origins.learnt]
    steps = [step for step in steps if not step.key[0].startswith(PREFIX)] or steps
    if isinstance(spec, Views | Video):  # later maps are pooled over the views
        steps = [s for s in steps if len(s.origins.grid) == 3 or _stacks_views(s, spec)] or steps
    if not steps:
        raise ValueError(
            "`modality` must lead to a feature map (B, h, w, C), made by layers with weights. "
            f"Received: modality={modality!r}, which is {spec or 'an input'!r}. "
            "mm.evaluate.integrated_gradients explains any modality."
        )
    return steps[-1]


def _is_map(step: Step, modality: str) -> bool:
    origin = step.origins
    tensor = step.outputs
    return (
        isinstance(tensor, keras.KerasTensor)
        and origin.names == {modality}
        and len(tensor.shape) in (4, 5)
        and None not in tensor.shape[1:]
        and math.prod(tensor.shape[1:]) > 0
        and keras.backend.is_float_dtype(tensor.dtype)
    )


def _stacks_views(step: Step, spec) -> bool:
    """Returns whether the maps of views with a backbone each stand one below the other."""
    joins = isinstance(step.op, keras.layers.Concatenate)
    return joins and isinstance(spec, Views) and not spec.shared and len(step.outputs.shape) == 4


def _by_view(x: np.ndarray, spec: Modality | None, step: Step, size: int):
    """Returns a map `(B, [V,] h, w, C)`."""
    if x.ndim == 4 and step.origins.views:
        return x.reshape(size, step.origins.views, *x.shape[1:])
    if _stacks_views(step, spec):
        return x.reshape(size, spec.count, -1, *x.shape[2:])
    return x


def _size(explained: Explained, modality: str) -> tuple[int, int] | None:
    """Returns the height and width of what the map lies over."""
    spec = explained.specs.get(modality)
    if isinstance(spec, Audio):
        return AudioEncoder.picture_shape(spec)[:2]
    shape = explained.model.input[modality].shape
    return None if len(shape) not in (4, 5) or None in shape[-3:] else tuple(shape[-3:-1])


def _resized(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns `(…, H, W)` of `(…, h, w)`, in between by straight lines."""
    flat = heat.reshape(-1, *heat.shape[-2:], 1)
    larger = ops.convert_to_numpy(ops.image.resize(flat, size, interpolation="bilinear"))
    return larger.reshape(*heat.shape[:-2], *size)


def _normalised(heat: np.ndarray) -> np.ndarray:
    highest = heat.max(axis=tuple(range(1, heat.ndim)), keepdims=True)
    return (heat / np.where(highest > 0, highest, 1)).astype("float32")
