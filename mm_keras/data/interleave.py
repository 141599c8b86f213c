"""One stream of several datasets, for one model that learns from all of them."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mm_keras._checks import PRESENT, check_number
from mm_keras.data.elements import check_elements, is_batched, modalities_in


def interleave(
    datasets: Mapping[str, tf.data.Dataset],
    weights: Mapping[str, float] | None = None,
    *,
    heads: Mapping[str, str] | None = None,
    stop: str = "first",
    seed: int | None = None,
    each_epoch: bool = True,
) -> tf.data.Dataset:
    """Draws elements from several datasets in given shares, all of one structure.

    A modality that a dataset lacks comes as zeros with `<name>_present` false. A head that it has
    no labels for comes as zeros with the sample weight 0. So one model learns from all of them:
    build it with `optional=True` for each modality that some dataset lacks.

    Args:
        datasets: `{name: dataset}` of `({name: array}, labels[, sample_weight])`: all of single
            samples, which mixes samples within a batch (batch afterwards), or all of batches.
            Modalities and heads of one name must have one shape and dtype.
        weights: Share of each dataset, of any sum, counted in elements; `None`: all alike.
        heads: `{name of a dataset: head}` for labels that are an array: the head that they belong
            to. `None`: labels are dicts, or arrays of one and the same head everywhere.
        stop: `"first"`: when the first dataset ends, so that the shares hold throughout; repeat
            the small ones. `"all"`: when all have ended.
        seed: Of the draws; `None`: another at each call.
        each_epoch: Whether each pass has draws of its own.

    Returns:
        Elements `(inputs, labels)`, or `(inputs, labels, sample_weight)` where a dataset has
        weights or lacks a head.

    Raises:
        ValueError: If structures can't be joined, and for weights that don't fit.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> slices = tf.data.Dataset.from_tensor_slices
    >>> a = slices(({"image": np.ones((4, 2))}, np.zeros(4, "int32")))
    >>> b = slices(({"audio": np.ones((4, 3))}, np.ones(4, "int32")))
    >>> joined = mm.data.interleave({"a": a, "b": b}, {"a": 1, "b": 3}, seed=0)
    >>> sorted(joined.element_spec[0])
    ['audio', 'audio_present', 'image', 'image_present']

    Reference: Caruana, Multitask Learning, 1997.
    """
    if not isinstance(datasets, Mapping) or not datasets:
        raise ValueError(
            f"`datasets` must be {{name: dataset}}, with at least one. Received: {datasets!r}."
        )
    if stop not in ("first", "all"):
        raise ValueError(f"`stop` must be 'first' or 'all'. Received: stop={stop!r}.")
    shares = _check_weights(weights, datasets)
    heads = heads or {}
    unknown = sorted(set(heads) - set(datasets))
    if unknown:
        raise ValueError(
            f"`heads` must name datasets out of {list(datasets)}. Received: {unknown}."
        )
    named = {name: _named(name, data, heads.get(name)) for name, data in datasets.items()}
    specs = {name: data.element_spec for name, data in named.items()}
    kinds = {isinstance(spec[1], Mapping) for spec in specs.values()}
    if len(kinds) == 2:
        arrays = [name for name, spec in specs.items() if not isinstance(spec[1], Mapping)]
        raise ValueError(
            "`heads` must name the head of labels that are an array, where other datasets have a "
            f"dict. Received none for: {arrays}."
        )
    batches = {name: is_batched(spec) for name, spec in specs.items()}
    certain = set(batches.values()) - {None}
    if len(certain) == 2:
        raise ValueError(
            f"`datasets` must all give batches, or all single samples. Received batches: {batches}."
        )
    batched = certain != {False}
    inputs = _union("inputs", {name: spec[0] for name, spec in specs.items()}, batched)
    labels = None
    if kinds == {True}:
        labels = _union("labels", {name: spec[1] for name, spec in specs.items()}, batched)
    else:
        _union("labels", {name: {"label": spec[1]} for name, spec in specs.items()}, batched)
    lacked = {
        name
        for name in modalities_in(inputs)
        if any(name not in spec[0] or name + PRESENT in spec[0] for spec in specs.values())
    }
    weighted = any(
        len(spec) == 3 or (labels and set(spec[1]) != set(labels)) for spec in specs.values()
    )
    joined = [
        data.map(
            lambda *element: _joined(element, inputs, labels, lacked, weighted, batched),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        for data in named.values()
    ]
    return tf.data.Dataset.sample_from_datasets(
        joined,
        weights=shares,
        seed=seed,
        stop_on_empty_dataset=stop == "first",
        rerandomize_each_iteration=each_epoch,
    )


def _check_weights(weights: Mapping[str, float] | None, datasets: Mapping[str, Any]) -> list[float]:
    if weights is None:
        return [1 / len(datasets)] * len(datasets)
    if not isinstance(weights, Mapping) or set(weights) != set(datasets):
        raise ValueError(
            f"`weights` must be {{name: share}} for each of {list(datasets)}. "
            f"Received: weights={weights!r}."
        )
    for weight in weights.values():
        check_number("weights", weight, minimum=1e-9)
    total = sum(weights.values())
    return [weights[name] / total for name in datasets]


def _named(name: str, dataset: tf.data.Dataset, head: str | None) -> tf.data.Dataset:
    """Returns a dataset whose labels, and weights, are a dict if `head` is given."""
    spec = check_elements(dataset, f"datasets[{name!r}]")
    if head is None:
        return dataset
    if isinstance(spec[1], Mapping):
        raise ValueError(
            f"`heads` must not name {name!r}, whose labels are a dict of {sorted(spec[1])}. "
            f"Received: {head!r}."
        )
    return dataset.map(lambda inputs, *parts: (inputs, *({head: part} for part in parts)))


def _union(
    what: str, specs: Mapping[str, Mapping[str, tf.TensorSpec]], batched: bool
) -> dict[str, tf.TensorSpec]:
    """Returns the specs of all names, without the batch axis, which all datasets agree about."""
    found: dict[str, tf.TensorSpec] = {}
    first: dict[str, str] = {}
    for dataset, parts in specs.items():
        for key, spec in parts.items():
            single = tf.TensorSpec(spec.shape[int(batched) :], spec.dtype)
            if key in found and found[key] != single:
                raise ValueError(
                    f"`datasets` must have {what} {key!r} of one shape and dtype. Received: "
                    f"{found[key]} in {first[key]!r}, {single} in {dataset!r}."
                )
            if not single.shape.is_fully_defined():
                raise ValueError(
                    f"`datasets` must have {what} of known shape. Received: {key!r} of "
                    f"{dataset!r}, {single}."
                )
            found[key] = single
            first.setdefault(key, dataset)
    return found


def _joined(element, inputs, labels, lacked, weighted, batched):
    """Returns an element with all inputs and heads."""
    given, answers, *weights = element
    axes = [tf.shape(next(iter(given.values())))[0]] if batched else []

    def zeros(spec: tf.TensorSpec) -> tf.Tensor:
        return tf.zeros([*axes, *spec.shape], spec.dtype)

    full = {}
    for name in modalities_in(inputs):
        full[name] = given.get(name, zeros(inputs[name]))
        if name in lacked:
            presence = inputs.get(name + PRESENT, tf.TensorSpec((1,), tf.bool))
            there = tf.fill([*axes, *presence.shape], tf.cast(name in given, presence.dtype))
            full[name + PRESENT] = given.get(name + PRESENT, there)
    if not weighted:
        return full, answers
    ones = tf.ones(axes)
    if labels is None:
        return full, answers, weights[0] if weights else ones
    old = weights[0] if weights else ones
    if not isinstance(old, dict):
        old = dict.fromkeys(answers, old)
    return (
        full,
        {head: answers.get(head, zeros(spec)) for head, spec in labels.items()},
        {head: tf.cast(old[head], tf.float32) if head in answers else 0 * ones for head in labels},
    )
