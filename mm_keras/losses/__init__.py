"""Losses: a pure function and a thin serialisable class each."""

from mm_keras.losses.classification import (
    ClassificationCrossentropy,
    classification,
    classification_crossentropy,
)
from mm_keras.losses.information_maximization import (
    InformationMaximization,
    information_maximization,
)
from mm_keras.losses.maximum_mean_discrepancy import (
    MaximumMeanDiscrepancy,
    maximum_mean_discrepancy,
)

__all__ = [
    "ClassificationCrossentropy",
    "InformationMaximization",
    "MaximumMeanDiscrepancy",
    "classification",
    "classification_crossentropy",
    "information_maximization",
    "maximum_mean_discrepancy",
]
