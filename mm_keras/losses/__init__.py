"""Losses: a pure function and a thin serialisable class each."""

from mm_keras.losses.classification import (
    ClassificationCrossentropy,
    classification,
    classification_crossentropy,
)

__all__ = ["ClassificationCrossentropy", "classification", "classification_crossentropy"]
