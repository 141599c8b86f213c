"""What the entries of the table are made of, and arrays that several of them use."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import mm_keras as mm


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def fusion_features(names=("audio", "image", "text"), width: int = 8) -> dict[str, np.ndarray]:
    """Returns `{name: (4, N, D)}`, N another for each name."""
    return {name: floats(4, 2 + index, width, seed=index) for index, name in enumerate(names)}


# Four samples: everything, a part, one position, nothing.
POSITIONS = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], "bool")
PRESENT = np.array([[1], [0], [1], [1]], "bool")
# `softmax` over keys cancels what is added to all of them alike.
KEY_BIAS = ("key/bias",)


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer and a call of it.

    Args:
        name: Of the case: the public name, and what is particular after a hyphen.
        make: Returns the layer.
        inputs: What it is called with.
        call_kwargs: Further arguments of the call.
        options: Further arguments of `check_layer`.
    """

    name: str
    make: Callable[[], Any]
    inputs: Any
    call_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A loss, labels and predictions for it.

    Args:
        name: Of the case, as for a layer.
        make: Returns the loss.
        y_true: Labels.
        y_pred: Predictions.
        float16_y_pred: Predictions that are hard on float16.
    """

    name: str
    make: Callable[[], Any]
    y_true: np.ndarray
    y_pred: np.ndarray
    float16_y_pred: np.ndarray


@dataclasses.dataclass(frozen=True)
class BuilderCase:
    """A builder and a batch for it.

    Args:
        name: Of the case, as for a layer.
        build: Returns the model.
        batch: Inputs.
        labels: Labels of the outputs that have a loss.
        options: Further arguments of `check_builder`.
    """

    name: str
    build: Callable[[], Any]
    batch: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Inputs of builders that take any mixture of modalities.
VECTORS = {"left": mm.Features((2, 6)), "right": mm.Features(4, optional=True)}
VECTORS_BATCH = {
    "left": floats(3, 2, 6),
    "right": floats(3, 4),
    "right_present": np.array([[True], [False], [True]]),
}
MIXTURE = {
    "image": mm.Image((8, 8, 1), backbone="SmallCNN"),
    "audio": mm.Audio(4000, 8000, mel_bins=16, stride=0.05),
    "extra": mm.Features(6, optional=True),
}
MIXTURE_BATCH = {
    "audio": np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4000)).astype("float32"),
    "image": np.random.default_rng(1).uniform(0, 255, (3, 8, 8, 1)).astype("float32"),
    "extra": floats(3, 6),
    "extra_present": np.array([[True], [False], [True]]),
}
LABELS = {"label": np.array([0, 2, 1], "int32")}

# Heads of every kind, labels for them and losses.
HEADS = {"digit": 3, "tags": mm.MultiLabel(2, logits=True), "size": mm.Regression(1)}
HEADS_LABELS = {
    "digit": LABELS["label"],
    "tags": np.array([[0, 1], [1, 1], [0, 0]], "float32"),
    "size": floats(3, 1),
}
HEADS_LOSSES = {
    "digit": mm.losses.classification(),
    "tags": "binary_crossentropy",
    "size": "mean_squared_error",
}
