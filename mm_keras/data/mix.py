"""MixUp, CutMix and ModalityMix of all modalities, labels and weights together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mm_keras._checks import PRESENT, check_bool, check_choice, check_number
from mm_keras.data.class_labels import each_head, softeners
from mm_keras.data.elements import check_batched, check_elements, map_in_order, modalities_in
from mm_keras.data.mix_parts import (
    Draw,
    Mixed,
    Pair,
    blend,
    cut_box,
    cut_stretch,
    take_whole,
)
from mm_keras.data.seeds import fold, uniform, with_seeds
from mm_keras.modalities import Audio, Features, Modality, Tabular, Text
from mm_keras.modalities.base import Pictorial

METHODS = ("mixup", "cutmix", "modalitymix")


def mix(
    dataset: tf.data.Dataset,
    modalities: Mapping[str, Modality],
    num_classes: int | Mapping[str, int] | None,
    *,
    method: str = "mixup",
    alpha: float | None = None,
    whole: Sequence[str] = (),
    per_sample: bool = False,
    seed: int | None = None,
    each_epoch: bool = True,
    num_parallel_calls: int | None = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Mixes each sample of a batch with a partner: all modalities, labels and weights alike.

    One permutation and one λ hold for everything. `keras.layers.MixUp` on a dict mixes images and
    labels and leaves the other modalities as they were, which is silently wrong.

    - `"mixup"`: λ · own + (1 − λ) · partner's.
    - `"cutmix"`: a box of 1 − λ of the partner's picture, the same box in all frames, views and
      modalities; a stretch of the partner's sound or feature sequence.
    - `"modalitymix"`: each modality is taken whole, one's own with probability λ.

    Labels become distributions that say what is in the sample: one's own label counts with the
    mean, over the modalities that are there, of the share that is one's own. With MixUp and all
    modalities present that is λ. A modality that one of the two lacks is taken from the other as
    it is, not blended with zeros; it is absent only where both lack it. With sample weights, each
    label counts in proportion to its sample's weight too, so that a label of weight 0 has no
    effect, and the loss is that of both samples in these shares.

    Keras makes `metrics=["accuracy"]` the metric of distributions once it has seen one, and then
    reads class numbers wrongly: pass what validates through `mm.data.one_hot_labels`.

    Args:
        dataset: Batches of `({name: array}, labels[, sample_weight])`.
        modalities: `{name: spec}`, as the model's builder takes them: what can be blended or cut.
        num_classes: Number of classes of labels that are class numbers; `{head: number}` for a
            dict of labels. Labels of other heads, or with `None`, are mixed as the numbers that
            they are: distributions, several labels at once, regression.
        method: `"mixup"`, `"cutmix"` or `"modalitymix"`.
        alpha: λ is drawn from Beta(alpha, alpha). `None`: 0.2 for MixUp, 1 for the others.
        whole: Names of modalities that are taken whole with MixUp and CutMix too: texts, tables
            with categories, and for CutMix vectors and tables, none of which can be blended or
            cut.
        per_sample: Whether each sample has a λ of its own, rather than each batch.
        seed: Of all draws; `None`: another at each call.
        each_epoch: Whether each pass over the dataset has draws of its own.
        num_parallel_calls: As in `tf.data.Dataset.map`.

    Returns:
        Batches of the same structure; class numbers have become `(B, C)`.

    Raises:
        ValueError: For elements that are no batches, modalities that can't be mixed so, class
            numbers without `num_classes`, and other arguments that don't fit.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> modalities = {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "extra": mm.Features(3)}
    >>> x = {"image": np.zeros((6, 8, 8, 1), "float32"), "extra": np.ones((6, 3), "float32")}
    >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(6))).batch(3)
    >>> mm.data.mix(data, modalities, num_classes=6, seed=0).element_spec[1].shape
    TensorShape([None, 6])

    Reference: Zhang et al., mixup, 2018; Yun et al., CutMix, 2019.
    """
    spec = check_elements(dataset)
    check_batched(spec)
    check_choice("method", method, METHODS)
    if alpha is None:
        alpha = 0.2 if method == "mixup" else 1.0
    check_number("alpha", alpha, minimum=1e-3)
    check_bool("per_sample", per_sample)
    mixers = _mixers(method, modalities, whole, modalities_in(spec[0]))
    soften = softeners(spec[1], num_classes)

    def change(key: tf.Tensor, element: tuple) -> tuple:
        inputs, labels, *weights = element
        batch = tf.shape(next(iter(inputs.values())))[0]
        share = beta(alpha, fold(key, "share"), (batch,) if per_sample else (1,))
        order = tf.argsort(uniform(fold(key, "order"), (batch,)))
        draw = Draw(tf.broadcast_to(share, (batch,)), order, key)
        inputs, own = _mix_inputs(inputs, mixers, draw)
        labels = each_head(lambda part, soft: soft(part), labels, soften)
        if not weights:
            return inputs, each_head(lambda part: _mix_labels(part, own, order)[0], labels)
        (weights,) = weights
        if isinstance(labels, Mapping) and not isinstance(weights, Mapping):
            weights = dict.fromkeys(labels, weights)
        mixed = each_head(
            lambda part, weight: _mix_labels(part, own, order, weight), labels, weights
        )
        return inputs, *(each_head(lambda pair, i=i: pair[i], mixed) for i in range(2))

    seeded = with_seeds(dataset, seed, "mix", each_epoch)
    return map_in_order(seeded, change, num_parallel_calls)


def beta(alpha: float, seed: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """Returns float32 numbers drawn from Beta(alpha, alpha)."""
    # In float64 small gammas don't vanish; where both do all the same, one side wins.
    first, second = (
        tf.random.stateless_gamma(shape, fold(seed, side), alpha, dtype=tf.float64)
        for side in range(2)
    )
    total = first + second
    either = tf.round(tf.random.stateless_uniform(shape, fold(seed, 2), dtype=tf.float64))
    return tf.cast(tf.where(total > 0, tf.math.divide_no_nan(first, total), either), tf.float32)


def _mix_inputs(
    inputs: Mapping[str, tf.Tensor], mixers: Mapping[str, Callable], draw: Draw
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns the mixed inputs, and how much of each sample is its own, `(B,)`."""
    mixed_inputs, shares, weights = {}, [], []
    for name, mixer in mixers.items():
        value, given = inputs[name], inputs.get(name + PRESENT)
        present = tf.ones((tf.shape(value)[0], 1), tf.bool) if given is None else given
        present = tf.cast(present, tf.bool)
        partners = (tf.gather(part, draw.order) for part in (value, present))
        other, other_present = partners
        mixed: Mixed = mixer(Pair(value, other, present, other_present), draw, name)
        mixed_inputs[name] = tf.ensure_shape(mixed.value, value.shape)
        if given is not None:
            mixed_inputs[name + PRESENT] = tf.cast(mixed.present, given.dtype)
        shares.append(mixed.share)
        weights.append(tf.cast(tf.reduce_any(mixed.present, axis=1), tf.float32))
    shares, weights = tf.stack(shares, 1), tf.stack(weights, 1)
    total = tf.reduce_sum(weights, axis=1)
    own = tf.math.divide_no_nan(tf.reduce_sum(shares * weights, axis=1), total)
    return mixed_inputs, tf.where(total > 0, own, 1.0)


def _mix_labels(
    labels: tf.Tensor, own: tf.Tensor, order: tf.Tensor, weights: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mixed labels and mixed weights."""
    weights = tf.ones_like(own) if weights is None else weights
    mass = own * tf.reshape(tf.cast(weights, tf.float32), (-1,))
    other = (1.0 - own) * tf.gather(tf.reshape(tf.cast(weights, tf.float32), (-1,)), order)
    total = mass + other
    ratio = tf.where(total > 0, tf.math.divide_no_nan(mass, total), own)
    ratio = tf.reshape(ratio, [-1] + [1] * (labels.shape.rank - 1))
    mixed = ratio * labels + (1.0 - ratio) * tf.gather(labels, order)
    return mixed, tf.reshape(total, tf.shape(weights))


def _mixers(
    method: str, modalities: Mapping[str, Modality], whole: Sequence[str], names: Sequence[str]
) -> dict[str, Callable]:
    """Returns `{name: function of pair, draw and name}`."""
    if isinstance(whole, str) or not isinstance(whole, Sequence):
        raise TypeError(f"`whole` must be a sequence of names. Received: whole={whole!r}.")
    for name in whole:
        check_choice("whole", name, names)
    if set(modalities) != set(names):
        raise ValueError(
            f"`modalities` must have a spec for each modality of the dataset, {list(names)}. "
            f"Received: {sorted(modalities)}."
        )
    mixers = {}
    for name in names:
        spec = modalities[name]
        if method == "modalitymix" or name in whole:
            mixers[name] = take_whole
            continue
        mixers[name] = _blender(spec) if method == "mixup" else _cutter(spec)
        if mixers[name] is None:
            raise ValueError(
                f"`method` must be one that can mix {name!r}, a {type(spec).__name__}: {method!r} "
                f"can't. Pass whole=[{name!r}], so that it is taken whole from either sample, or "
                f"method='modalitymix'. Received: method={method!r}, whole={list(whole)}."
            )
    return mixers


def _blender(spec: Modality) -> Callable | None:
    if isinstance(spec, Text) or (isinstance(spec, Tabular) and spec.categorical):
        return None
    return blend


def _cutter(spec: Modality) -> Callable | None:
    if isinstance(spec, Audio) or (isinstance(spec, Features) and len(spec.input_shape) == 2):
        return cut_stretch
    return cut_box if isinstance(spec, Pictorial) else None
