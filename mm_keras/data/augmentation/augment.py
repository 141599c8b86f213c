"""Seeded augmentation of every modality of a dataset."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mm_keras._checks import PRESENT, check_bool
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.augmentation.batches import change_batch, change_sample
from mm_keras.data.augmentation.image import as_augmentation
from mm_keras.data.elements import (
    check_elements,
    check_modality_names,
    clear_absent,
    is_batched,
    map_in_order,
)
from mm_keras.data.seeds import fold, with_seeds


def augment(
    dataset: tf.data.Dataset,
    augmentations: Mapping[str | tuple[str, ...], Any],
    *,
    seed: int | None = None,
    each_epoch: bool = True,
    num_parallel_calls: int | None = tf.data.AUTOTUNE,
    jit_compile: bool = True,
) -> tf.data.Dataset:
    """Changes samples at random, each modality in ways of its own.

    The same seed gives the same stream, whatever the parallelism; every pass over the dataset has
    draws of its own. Augmenting one modality more leaves the draws of the others as they were.
    Structure, shapes and dtypes stay as they are (but for layers that crop); pixels that come as
    uint8 leave as uint8. Absent samples stay zero and absent.

    Batches are several times faster than single samples: most augmentations then draw for all
    samples of a batch at once, and XLA compiles those of pictures that it can fuse, which takes a
    second at the start. What cannot (`RandomCrop`, `RandAugment`, functions) takes one sample after
    the other.

    Args:
        dataset: `({name: array}, labels[, sample_weight])`, batches (made without
            `drop_remainder`, which would look like samples) or single samples.
        augmentations: `{name: augmentation}`, or a list of them, applied in order. An augmentation
            is an object of `mm.data` (`mm.data.TimeShift()`), a layer of `keras.layers` that
            augments images, or a function of a value and a seed, for `tf.random.stateless_…`. A
            tuple of names, `("left", "right")`, stands for modalities that share their draws.
        seed: Of all draws; `None`: another at each call.
        each_epoch: Whether each pass over the dataset has draws of its own.
        num_parallel_calls: As in `tf.data.Dataset.map`.
        jit_compile: Whether XLA compiles what it can of batches; it draws other random numbers.

    Returns:
        The augmented dataset, in the same order.

    Raises:
        ValueError: For a name that is no modality, or an augmentation that doesn't fit it.
        TypeError: For something that is no augmentation.

    Example:

    >>> import keras, numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> x = {"image": np.zeros((6, 8, 8, 3), "uint8"), "audio": np.zeros((6, 100), "float32")}
    >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(6)))
    >>> data = mm.data.augment(
    ...     data,
    ...     {
    ...         "image": keras.layers.RandomFlip("horizontal"),
    ...         "audio": [mm.data.TimeShift(0.1), mm.data.AddNoise(5, 30)],
    ...     },
    ...     seed=0,
    ... )
    >>> sorted(data.batch(3).element_spec[0])
    ['audio', 'image']
    """
    spec = check_elements(dataset)
    batched = bool(is_batched(spec))
    single = keras.tree.map_structure(lambda s: tf.TensorSpec(s.shape[1:], s.dtype), spec[0])
    steps = _check_augmentations(augmentations, single if batched else spec[0])
    check_bool("jit_compile", jit_compile)
    batches = functools.partial(change_batch, jit_compile=jit_compile)
    run = batches if batched else change_sample

    def change(key: tf.Tensor, element: tuple) -> tuple:
        inputs = dict(element[0])
        for names, chain in steps.items():
            start = fold(key, "+".join(names))
            for name in names:
                value, present = run(
                    list(enumerate(chain)), inputs[name], inputs.get(name + PRESENT), start
                )
                inputs[name] = clear_absent(value, present)
                if present is not None:
                    inputs[name + PRESENT] = present
        return inputs, *element[1:]

    seeded = with_seeds(dataset, seed, "augment", each_epoch)
    return map_in_order(seeded, change, num_parallel_calls)


def _check_augmentations(
    augmentations: Mapping[str | tuple[str, ...], Any], inputs: Mapping[str, tf.TensorSpec]
) -> dict[tuple[str, ...], list[Augmentation]]:
    """Returns `{names: augmentations in order}`."""
    if not isinstance(augmentations, Mapping):
        raise TypeError(
            "`augmentations` must be {name: augmentation}. "
            f"Received: augmentations={augmentations!r}."
        )
    steps = {}
    for key, given in augmentations.items():
        names = key if isinstance(key, tuple) else (key,)
        check_modality_names("augmentations", names, inputs)
        repeated = [name for name in names if any(name in others for others in steps)]
        if repeated:
            raise ValueError(
                f"`augmentations` must name each modality once. Received twice: {repeated}."
            )
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        chain = [as_augmentation(one) for one in (given if listed else [given])]
        for name in names:
            for augmentation in chain:
                augmentation.check(name, inputs[name], inputs.get(name + PRESENT))
        steps[names] = chain
    return steps
