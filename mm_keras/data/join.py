"""Several datasets as one, for a model that learns from all of them."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from mm_keras._checks import PRESENT


def join_datasets(
    datasets: Sequence[tf.data.Dataset],
    model: keras.Model,
    weights: Sequence[float] | None = None,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Mixes samples of datasets that differ in modalities or labels, for one model.

    What a dataset lacks is filled in and has no effect: a modality gets zeros and the presence
    `False`, labels get zeros and the sample weight 0. A metric that should heed these weights goes
    to `compile(weighted_metrics=…)`.

    Args:
        datasets: Single samples, not batches, `({modality: array}, labels[, sample_weight])`;
            labels an array in all of them, or `{head: labels}` in all of them, and sample weights
            likewise, or one for all heads.
        model: A functional `keras.Model` with a dict of inputs. A modality that some dataset lacks
            must be `optional=True`.
        weights: Shares of the samples that each dataset gives; `None`: equal ones.
        seed: Of the order in which datasets are drawn.

    Returns:
        Single samples `(inputs, labels)`, or `(inputs, labels, {head: weight})` where some
        dataset lacks a head or has sample weights. It ends when a dataset ends: `.repeat()` those
        that are smaller, all but one; then shuffle and batch.

    Raises:
        ValueError: If samples have another structure, lack a modality that is not optional, or
            have one that the model has not; or if shapes, or labels of one head, don't fit.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({n: mm.Features(2, optional=True) for n in ("seen", "heard")}, 2)
    >>> photos = tf.data.Dataset.from_tensor_slices(({"seen": np.ones((4, 2))}, [0, 1, 0, 1]))
    >>> sounds = tf.data.Dataset.from_tensor_slices(({"heard": np.ones((2, 2))}, [1, 0]))
    >>> both = mm.data.join_datasets([photos, sounds.repeat()], model, seed=0)
    >>> sorted(both.element_spec[0])
    ['heard', 'heard_present', 'seen', 'seen_present']

    Reference: Caruana, Multitask Learning, 1997; Likhosherstov et al., PolyViT, 2021.
    """
    datasets = list(datasets)
    if not datasets:
        raise ValueError("`datasets` must have at least one dataset. Received: [].")
    if not isinstance(getattr(model, "input", None), Mapping):
        raise ValueError(f"`model` must have a dict of inputs. Received: {model!r}.")
    if weights is not None and (len(weights) != len(datasets) or min(weights) <= 0):
        raise ValueError(
            f"`weights` must be {len(datasets)} numbers above 0, one for each dataset. "
            f"Received: weights={weights!r}."
        )
    for number, dataset in enumerate(datasets):
        _check_inputs(number, dataset.element_spec, model)
    labels = [dataset.element_spec[1] for dataset in datasets]
    heads = _heads(labels)
    weighted = any(len(dataset.element_spec) == 3 for dataset in datasets) or (
        heads is not None and any(set(given) != set(heads) for given in labels)
    )
    filled = [
        dataset.map(_filler(model, given, heads, weighted), tf.data.AUTOTUNE)
        for dataset, given in zip(datasets, labels, strict=True)
    ]
    shares = None if weights is None else [float(w) / sum(weights) for w in weights]
    return tf.data.Dataset.sample_from_datasets(
        filled,
        shares,
        seed=seed,
        stop_on_empty_dataset=True,
        rerandomize_each_iteration=False,  # epochs of one length, which Keras counts on
    )


def _check_inputs(number: int, spec, model: keras.Model) -> None:
    """Raises unless a dataset has what the model needs, and nothing else."""
    where = f"`datasets[{number}]`"
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[0], Mapping):
        raise ValueError(
            f"{where} must give samples ({{modality: array}}, labels) or ({{modality: array}}, "
            f"labels, sample_weight). Received elements: {spec}."
        )
    unknown = sorted(set(spec[0]) - set(model.input))
    if unknown:
        raise ValueError(
            f"{where} must give inputs out of {sorted(model.input)}. Received also: {unknown}."
        )
    needed = [
        name
        for name in sorted(model.input)
        if name + PRESENT not in model.input and not _is_presence(name, model)
    ]
    lacking = [name for name in needed if name not in spec[0]]
    if lacking:
        raise ValueError(
            f"{where} must give the modalities that are not optional. Received: "
            f"{sorted(spec[0])}, without {lacking}; build the model with `optional=True` for them."
        )
    for name, given in spec[0].items():
        expected = tuple(model.input[name].shape[1:])
        if not given.shape.is_compatible_with(expected):
            raise ValueError(
                f"{where} must give single samples, {name!r} of shape {expected}. "
                f"Received: {tuple(given.shape)}. Join before `.batch`."
            )


def _is_presence(name: str, model: keras.Model) -> bool:
    return name.endswith(PRESENT) and name.removesuffix(PRESENT) in model.input


def _heads(specs) -> dict[str, tf.TensorSpec] | None:
    """Returns `{head: what its labels are}`; `None`: labels are arrays."""
    kinds = {isinstance(spec, Mapping) for spec in specs}
    if len(kinds) > 1:
        raise ValueError(
            "`datasets` must give labels as an array in all of them, or as {head: labels} in all "
            f"of them. Received: {specs}."
        )
    heads: dict[str, tf.TensorSpec] = {}
    for spec in specs:
        for head, given in (spec if isinstance(spec, Mapping) else {"labels": spec}).items():
            known = heads.setdefault(head, given)
            same = known.shape == given.shape and known.dtype.is_integer == given.dtype.is_integer
            if not same:
                raise ValueError(
                    f"`datasets` must give {head!r} in one shape and kind in all of them. "
                    f"Received: {known} and {given}."
                )
    return heads if True in kinds else None


def _filler(model: keras.Model, given, heads, weighted: bool):
    """Returns the function that completes a sample of the dataset whose labels are `given`."""

    def weight_of(head: str, weights) -> tf.Tensor:
        if head not in given:
            return tf.constant(0.0)
        weight = weights[head] if isinstance(weights, Mapping) else weights
        return tf.cast(weight, tf.float32)

    def fill(inputs, labels, weights=1.0):
        inputs = _all_inputs(inputs, model)
        if heads is None:
            return (inputs, labels, tf.cast(weights, tf.float32)) if weighted else (inputs, labels)
        labels = {
            head: tf.cast(labels[head], known.dtype)
            if head in given
            else tf.zeros(known.shape, known.dtype)
            for head, known in heads.items()
        }
        if not weighted:
            return inputs, labels
        return inputs, labels, {head: weight_of(head, weights) for head in heads}

    return fill


def _all_inputs(inputs, model: keras.Model):
    """Returns every input of the model: what is absent as zeros, and what is absent."""
    found = {}
    for name, expected in model.input.items():
        shape = expected.shape[1:]
        if name in inputs:
            found[name] = tf.ensure_shape(tf.cast(inputs[name], expected.dtype), shape)
        elif _is_presence(name, model):
            found[name] = tf.fill(shape, name.removesuffix(PRESENT) in inputs)
        else:
            found[name] = tf.zeros(shape, expected.dtype)
    return found
