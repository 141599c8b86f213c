"""How much each modality contributed to a prediction."""

import math
from typing import NamedTuple

import keras
import numpy as np

from mm_keras._checks import PRESENT, check_choice
from mm_keras.evaluate.presence import keep, modality_names, presence_patterns
from mm_keras.evaluate.samples import (
    Arrays,
    Data,
    batches_of,
    check_head,
    class_numbers,
    joined,
    labels_of,
    predict,
)


class Contributions(NamedTuple):
    """Shapley values of modalities; `sum(values.values()) + without == whole` in every sample.

    Args:
        values: `{modality: (n,)}`.
        whole: `(n,)`: what was explained, as the model predicts it.
        without: `(n,)`: the same with nothing present.
        classes: `(n,)`: the class whose output was explained.
    """

    values: dict[str, np.ndarray]
    whole: np.ndarray
    without: np.ndarray
    classes: np.ndarray

    @property
    def shares(self) -> dict[str, float]:
        """`{modality: share of Σ mean |value|}`: which modality a model leans on, overall."""
        sizes = {name: float(np.abs(value).mean()) for name, value in self.values.items()}
        total = sum(sizes.values())
        return {name: size / total if total else 0.0 for name, size in sizes.items()}


def shapley_values(
    model: keras.Model,
    data: Data,
    head: str = "label",
    explained: str = "predicted",
    batch_size: int = 32,
) -> Contributions:
    """Divides each prediction among the modalities: exact Shapley values over presence patterns.

    `φ_m = Σ_S |S|! (M − |S| − 1)! / M! · (v(S + m) − v(S))`, over the sets S of the other
    modalities; v(S) is the output when S alone is present. No sampling: 2^M predictions a batch. A
    modality that a sample lacks gets 0.

    Args:
        model: Of modalities with `optional=True`.
        data: Batches of `({name: …}, labels)`, or one such tuple of whole arrays.
        head: Name of the output, `(B, C)`.
        explained: Output of which class: `"predicted"`, that of the whole model, or `"label"`.
        batch_size: Of whole arrays.

    Raises:
        ValueError: If a modality can't be absent, or the data lack an input or labels.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> sound = mm.Features(6, optional=True)
    >>> model = mm.build_mcnn({"a": sound, "b": sound}, 2)
    >>> x = {"a": np.ones((4, 6)), "b": np.ones((4, 6))}
    >>> x |= {"a_present": np.ones((4, 1), bool), "b_present": np.zeros((4, 1), bool)}
    >>> found = mm.evaluate.shapley_values(model, (x, np.array([0, 1, 0, 1])))
    >>> bool(np.allclose(found.values["a"] + found.without, found.whole, atol=1e-6))
    True
    >>> found.values["b"].tolist()
    [0.0, 0.0, 0.0, 0.0]

    Reference: Shapley, A Value for n-Person Games, 1953; Gat et al., Perceptual Score, 2021.
    """
    check_head(model, head)
    names = modality_names(model)
    check_choice("explained", explained, ["predicted", "label"])
    parts = []
    for batch in batches_of(model, data, batch_size):
        if explained == "label":
            classes = class_numbers(labels_of(batch, head), model.output[head].shape[-1])
        else:
            classes = predict(model, batch.inputs)[head].argmax(axis=-1)
        parts.append(_contributions(model, batch.inputs, head, names, classes))
    found = joined(parts)
    return Contributions(
        {name: found[name] for name in names}, found["_whole"], found["_without"], found["_classes"]
    )


def _contributions(model, inputs: Arrays, head: str, names: list[str], classes) -> Arrays:
    """Returns `{name: (B,)}` of a batch, and the ends of the sum."""
    rows = np.arange(len(classes))
    value = {
        frozenset(pattern): predict(model, keep(inputs, pattern, names))[head].astype("float64")[
            rows, classes
        ]
        for pattern in presence_patterns(names)
    }
    count = len(names)
    found = {}
    for name in names:
        total = np.zeros(len(rows))
        for others, without in value.items():
            if name in others:
                continue
            size = len(others)
            weight = math.factorial(size) * math.factorial(count - size - 1)
            total += weight / math.factorial(count) * (value[others | {name}] - without)
        # By the contract 0 up to rounding; exactly 0 where there was nothing to take away.
        own = inputs[name + PRESENT].reshape(len(rows), -1).any(axis=1)
        found[name] = np.where(own, total, 0.0)
    ends = {"_whole": value[frozenset(names)], "_without": value[frozenset()], "_classes": classes}
    return found | ends
