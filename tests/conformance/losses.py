"""The losses of classes."""

import numpy as np

from mm_keras import losses
from tests.conformance.cases import LossCase, floats


def loss_cases() -> list[LossCase]:
    """Returns the table of losses."""
    logits = 3 * floats(4, 5)
    powers = np.exp(logits)
    probabilities = (powers / powers.sum(-1, keepdims=True)).astype("float32")
    numbers = np.array([0, 4, 2, 2], "int32")
    mixed = 0.7 * np.eye(5)[numbers] + 0.3 * np.eye(5)[::-1][numbers]
    wrong = np.eye(5, dtype="float32")[(numbers + 1) % 5]  # sure, and wrong
    return [
        LossCase(
            "ClassificationCrossentropy",
            lambda: losses.ClassificationCrossentropy(label_smoothing=0.1),
            mixed.astype("float32"),
            probabilities,
            wrong,
        ),
        LossCase(
            "ClassificationCrossentropy-logits",
            lambda: losses.ClassificationCrossentropy(from_logits=True),
            numbers,
            logits,
            3e4 * wrong,
        ),
        LossCase(
            "FocalCrossentropy",
            lambda: losses.FocalCrossentropy(gamma=1.5, alpha=[1.0, 0.5, 2.0, 1.0, 1.0]),
            mixed.astype("float32"),
            probabilities,
            wrong,
        ),
        LossCase(
            "FocalCrossentropy-logits",
            lambda: losses.FocalCrossentropy(from_logits=True),
            numbers,
            logits,
            3e4 * wrong,
        ),
        LossCase(
            "LogitAdjustedCrossentropy",
            lambda: losses.LogitAdjustedCrossentropy([5, 1, 1, 2, 1], tau=0.5),
            mixed.astype("float32"),
            probabilities,
            wrong,
        ),
        LossCase(
            "LogitAdjustedCrossentropy-logits",
            lambda: losses.LogitAdjustedCrossentropy([5, 1, 1, 2, 1], from_logits=True),
            numbers,
            logits,
            3e4 * wrong,
        ),
        LossCase("classification", losses.classification, numbers, probabilities, wrong),
    ]
