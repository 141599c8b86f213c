"""Weights of classes as sample weights."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from mm_keras._checks import check_int, check_number
from mm_keras.data import add_class_weights
from mm_keras.distribute.batches import Source


def weigh_classes(model: keras.Model, dataset: Source, class_weight: Mapping[int, float]) -> Source:
    """Returns a dataset, or a function, whose samples weigh what their class does.

    Args:
        model: Of one output, whose width is the number of classes.
        dataset: As for `mm.distribute.fit`.
        class_weight: `{class: weight}`, 1 for classes left out.

    Raises:
        ValueError: If the model has several outputs, or a class or weight doesn't fit.
        TypeError: If it is no mapping, or a class is no integer.
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "`class_weight` must be a dict {class: weight}. "
            f"Received: {type(class_weight).__name__}."
        )
    outputs = tf.nest.flatten(model.output)
    if len(outputs) > 1:
        raise ValueError(
            "`class_weight` must be left out for a model of several outputs: weigh the samples by "
            "mm.data.add_class_weights(dataset, {head: weights}) instead. "
            f"Received: {model.name!r}, of {len(outputs)} outputs."
        )
    for number, weight in class_weight.items():
        check_int("class_weight", number, minimum=0)
        check_number("class_weight", weight)
    classes = max(outputs[0].shape[-1], 2, 1 + max(class_weight, default=0))
    table = [float(class_weight.get(number, 1.0)) for number in range(classes)]

    def weigh(batches: tf.data.Dataset) -> tf.data.Dataset:
        spec = batches.element_spec
        named = isinstance(spec, tuple) and len(spec) > 1 and isinstance(spec[1], Mapping)
        return add_class_weights(batches, dict.fromkeys(spec[1], table) if named else table)

    if isinstance(dataset, tf.data.Dataset):
        return weigh(dataset)
    return lambda context: weigh(dataset(context))
