"""Losses: a pure function and a thin serialisable class each."""

from mm_keras.losses.classification import (
    ClassificationCrossentropy,
    classification,
    classification_crossentropy,
)
from mm_keras.losses.info_nce import InfoNCE, info_nce
from mm_keras.losses.siglip import SigLIP, siglip
from mm_keras.losses.triplet import Triplet, triplet
from mm_keras.losses.vse import VSE, vse

__all__ = [
    "VSE",
    "ClassificationCrossentropy",
    "InfoNCE",
    "SigLIP",
    "Triplet",
    "classification",
    "classification_crossentropy",
    "info_nce",
    "siglip",
    "triplet",
    "vse",
]
