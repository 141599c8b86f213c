"""Losses: a pure function and a thin serialisable class each."""

from mm_keras.losses.classification import (
    ClassificationCrossentropy,
    classification,
    classification_crossentropy,
)
from mm_keras.losses.focal import FocalCrossentropy, focal_crossentropy
from mm_keras.losses.logit_adjusted import (
    LogitAdjustedCrossentropy,
    logit_adjusted_crossentropy,
)

__all__ = [
    "ClassificationCrossentropy",
    "FocalCrossentropy",
    "LogitAdjustedCrossentropy",
    "classification",
    "classification_crossentropy",
    "focal_crossentropy",
    "logit_adjusted_crossentropy",
]
