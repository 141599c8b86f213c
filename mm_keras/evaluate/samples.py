"""Batches and predictions as NumPy arrays, keyed by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from mm_keras._checks import check_choice, check_int

Arrays = dict[str, np.ndarray]
Data = Any  # a tf.data.Dataset of batches, or (inputs, labels) in arrays
Metric = str | Callable[[np.ndarray, np.ndarray], float]


class Batch(NamedTuple):
    """A batch.

    Args:
        inputs: `{name: (B, …)}` of the model's inputs.
        labels: `{head: (B, …)}`.
    """

    inputs: Arrays
    labels: Arrays


def check_model(model: keras.Model) -> None:
    """Raises unless a model has dicts of inputs and of outputs."""
    named = isinstance(model, keras.Model) and hasattr(model, "operations")
    if not (named and isinstance(model.input, Mapping) and isinstance(model.output, Mapping)):
        raise TypeError(
            "`model` must be a functional keras.Model with a dict of inputs and a dict of outputs, "
            f"which a builder returns. Received: {model!r} of type {type(model).__name__}."
        )


def batches_of(model: keras.Model, data: Data, batch_size: int = 32) -> Iterator[Batch]:
    """Yields the batches that a model takes of some data.

    Args:
        model: With a dict of inputs and outputs.
        data: Batches of `({name: …}, labels)`, with weights or without, which are not looked at, or
            one such tuple of whole arrays. Labels without a name are those of the only output, or
            of `label`.
        batch_size: Of whole arrays.
    """
    check_int("batch_size", batch_size)
    count = 0
    for element in _sliced(data, batch_size):
        if not isinstance(element, tuple) or len(element) < 2:
            raise ValueError(
                "`data` must have batches of ({name: …}, labels). "
                f"Received: {type(element).__name__}."
            )
        given, labels = element[:2]
        missing = sorted(set(model.input) - set(given))
        if missing:
            raise ValueError(
                f"`data` must have every input of the model, {sorted(model.input)}. "
                f"Received without: {missing}."
            )
        if not isinstance(labels, Mapping):
            labels = {_only_output(model): labels}
        count += 1
        yield Batch(
            {name: np.asarray(given[name]) for name in model.input},
            {head: np.asarray(values) for head, values in labels.items()},
        )
    if not count:
        raise ValueError("`data` must have at least one batch. Received: none.")


def _sliced(data: Data, batch_size: int) -> Iterable:
    """Returns batches of whole arrays; what has batches already is returned as it is."""
    if not isinstance(data, tuple):
        return data
    arrays = tuple(
        {name: np.asarray(values) for name, values in part.items()}
        if isinstance(part, Mapping)
        else np.asarray(part)
        for part in data
    )
    sizes = {len(array) for array in keras.tree.flatten(arrays)}
    if len(sizes) != 1:
        raise ValueError(f"`data` must have arrays of one length. Received: {sorted(sizes)}.")
    starts = range(0, sizes.pop(), batch_size)

    def rows(start):
        return keras.tree.map_structure(lambda array: array[start : start + batch_size], arrays)

    return map(rows, starts)


def _only_output(model: keras.Model) -> str:
    names = list(model.output)
    if len(names) == 1:
        return names[0]
    if "label" in names:
        return "label"
    raise ValueError(
        f"`data` must have a dict of labels for a model with the outputs {names}. "
        "Received labels without a name."
    )


def labels_of(batch: Batch, head: str) -> np.ndarray:
    """Returns the labels of a head; raises where a batch has none."""
    if head not in batch.labels:
        raise ValueError(f"`data` must have labels of {head!r}. Received: {sorted(batch.labels)}.")
    return batch.labels[head]


def predict(model: keras.Model, inputs: Arrays) -> Arrays:
    """Returns `{output: (B, …)}` of a batch."""
    outputs = model.predict_on_batch(inputs)
    return {name: np.asarray(outputs[name]) for name in outputs}


def predictions_of(model: keras.Model, data: Data, batch_size: int = 32) -> tuple[Arrays, Arrays]:
    """Returns labels and outputs of all samples, both `{head: (n, …)}`, of the labelled heads.

    Args:
        model: With a dict of inputs and outputs.
        data: As in `batches_of`.
        batch_size: Of whole arrays.
    """
    check_model(model)
    labels, outputs = [], []
    for batch in batches_of(model, data, batch_size):
        found = predict(model, batch.inputs)
        heads = [head for head in batch.labels if head in found]
        labels.append({head: batch.labels[head] for head in heads})
        outputs.append({head: found[head] for head in heads})
    return joined(labels), joined(outputs)


def joined(parts: list[Arrays]) -> Arrays:
    """Returns arrays of the batches' arrays, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_head(model: keras.Model, head: str) -> None:
    """Raises unless a model has the output."""
    check_model(model)
    check_choice("head", head, list(model.output))


def metric_of(metric: Metric) -> Callable[[np.ndarray, np.ndarray], float]:
    """Returns the function of labels `(n, …)` and outputs `(n, …)`."""
    if callable(metric):
        return metric
    check_choice("metric", metric, ["accuracy"])
    return accuracy


def accuracy(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Returns the share of samples whose most probable class is theirs."""
    return float(np.mean(class_numbers(labels, outputs.shape[-1]) == outputs.argmax(axis=-1)))


def class_numbers(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns `(n,)` integers of class numbers `(n,)` or `(n, 1)`, or distributions `(n, C)`."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == classes and classes > 1:
        return labels.argmax(axis=1)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1:
        raise ValueError(
            f"`labels` must be class numbers (n,), or distributions (n, {classes}). "
            f"Received shape: {labels.shape}."
        )
    numbers = labels[:, 0].astype("int64")
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < classes):
        raise ValueError(
            f"`labels` must be class numbers from 0 to {classes - 1}. "
            f"Received: {numbers.min()} to {numbers.max()}."
        )
    return numbers
