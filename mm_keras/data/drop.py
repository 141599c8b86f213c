"""Modality dropout in the pipeline."""

from collections.abc import Mapping

import tensorflow as tf

from mm_keras._checks import PRESENT, check_choice, check_number
from mm_keras.data.elements import check_elements, clear_absent, map_in_order, modalities_in
from mm_keras.data.seeds import fold, uniform, with_seeds


def drop_modalities(
    dataset: tf.data.Dataset,
    rate: float | Mapping[str, float],
    *,
    seed: int | None = None,
    each_epoch: bool = True,
    num_parallel_calls: int | None = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Makes whole modalities absent at random: zeros, and their presence inputs say so.

    Of the modalities that a sample has, at least one stays: where all would go, one of them, drawn
    evenly, is kept. Modalities without a presence input are never dropped. `build_…` has
    `modality_dropout` for the same within the model; this is for models of one's own, for
    different rates, and for testing a model on what it will miss.

    Args:
        dataset: `({name: array}, labels[, sample_weight])`, single samples or batches.
        rate: Probability that a modality is dropped, in [0, 1]; or `{name: probability}`. 1 is for
            tests.
        seed: Of all draws; `None`: another at each call.
        each_epoch: Whether each pass over the dataset has draws of its own.
        num_parallel_calls: As in `tf.data.Dataset.map`.

    Returns:
        The dataset with elements of the same structure, in the same order.

    Raises:
        ValueError: If no modality has a presence input, or a name of `rate` has none.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> x = {"a": np.ones((6, 2)), "a_present": np.ones((6, 1), bool), "b": np.ones((6, 3))}
    >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(6)))
    >>> dropped = next(iter(mm.data.drop_modalities(data, {"a": 1.0}).batch(6)))[0]
    >>> float(tf.reduce_sum(dropped["a"])), bool(tf.reduce_any(dropped["a_present"]))
    (0.0, False)

    Reference: Neverova et al., ModDrop: adaptive multi-modal gesture recognition, 2015.
    """
    inputs_spec = check_elements(dataset)[0]
    names = modalities_in(inputs_spec)
    optional = [name for name in names if name + PRESENT in inputs_spec]
    if not optional:
        raise ValueError(
            "`dataset` must have a presence input for what may be dropped, e.g. "
            f"'{names[0]}_present'. Received the inputs: {sorted(inputs_spec)}."
        )
    rates = rate if isinstance(rate, Mapping) else dict.fromkeys(optional, rate)
    for name, value in rates.items():
        check_choice("rate", name, optional)
        check_number("rate", value, below=1.0 + 1e-9)
    everywhere = len(optional) < len(names)  # some modality is always there

    def change(key: tf.Tensor, element: tuple) -> tuple:
        inputs = dict(element[0])
        there = tf.stack(
            [tf.reduce_any(tf.cast(inputs[n + PRESENT], tf.bool), axis=-1) for n in optional], -1
        )
        draws = [uniform(fold(key, name), tf.shape(there)[:-1]) for name in optional]
        stays = tf.stack(draws, -1) >= [rates.get(name, 0.0) for name in optional]
        if not everywhere:
            draws = tf.where(there, uniform(fold(key, "last"), tf.shape(there)), -1.0)
            last = tf.one_hot(tf.argmax(draws, -1), len(optional), True, False, dtype=tf.bool)
            stays |= last & ~tf.reduce_any(stays & there, axis=-1, keepdims=True)
        for index, name in enumerate(optional):
            present = inputs[name + PRESENT]
            present = tf.cast(present, tf.bool) & stays[..., index, None]
            inputs[name] = clear_absent(inputs[name], present)
            inputs[name + PRESENT] = tf.cast(present, inputs[name + PRESENT].dtype)
        return inputs, *element[1:]

    seeded = with_seeds(dataset, seed, "drop_modalities", each_epoch)
    return map_in_order(seeded, change, num_parallel_calls)
