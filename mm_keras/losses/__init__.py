"""Losses: a pure function and a thin serialisable class each."""

from mm_keras.losses.classification import (
    ClassificationCrossentropy,
    classification,
    classification_crossentropy,
)
from mm_keras.losses.focal import (
    FocalCrossentropy,
    focal_crossentropy,
)
from mm_keras.losses.info_nce import (
    InfoNCE,
    info_nce,
)
from mm_keras.losses.information_maximization import (
    InformationMaximization,
    information_maximization,
)
from mm_keras.losses.logit_adjusted import (
    LogitAdjustedCrossentropy,
    logit_adjusted_crossentropy,
)
from mm_keras.losses.maximum_mean_discrepancy import (
    MaximumMeanDiscrepancy,
    maximum_mean_discrepancy,
)
from mm_keras.losses.siglip import (
    SigLIP,
    siglip,
)
from mm_keras.losses.triplet import (
    Triplet,
    triplet,
)
from mm_keras.losses.vse import (
    VSE,
    vse,
)

__all__ = [
    "VSE",
    "ClassificationCrossentropy",
    "FocalCrossentropy",
    "InfoNCE",
    "InformationMaximization",
    "LogitAdjustedCrossentropy",
    "MaximumMeanDiscrepancy",
    "SigLIP",
    "Triplet",
    "classification",
    "classification_crossentropy",
    "focal_crossentropy",
    "info_nce",
    "information_maximization",
    "logit_adjusted_crossentropy",
    "maximum_mean_discrepancy",
    "siglip",
    "triplet",
    "vse",
]
