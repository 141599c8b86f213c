"""Builders: functions that return functional Keras models."""

from mm_keras.models.adda import build_adda
from mm_keras.models.afe import build_afe
from mm_keras.models.cmn import build_cmn
from mm_keras.models.dfn import build_dfn
from mm_keras.models.dml import build_dml
from mm_keras.models.heads import Classification, Head, MultiLabel, Regression
from mm_keras.models.inference import inference_model, modalities_of
from mm_keras.models.mcnn import build_mcnn
from mm_keras.models.mvcnn import build_mvcnn
from mm_keras.models.nasn import build_nasn
from mm_keras.models.routing import RoutedPredictor
from mm_keras.models.transfer import Transfer, transfer_weights
from mm_keras.models.with_views import with_views

BUILDERS = {
    "build_mcnn": build_mcnn,
    "build_cmn": build_cmn,
    "build_dfn": build_dfn,
    "build_nasn": build_nasn,
    "build_dml": build_dml,
    "build_mvcnn": build_mvcnn,
    "build_afe": build_afe,
}

__all__ = [
    "BUILDERS",
    "Classification",
    "Head",
    "MultiLabel",
    "Regression",
    "RoutedPredictor",
    "Transfer",
    "build_adda",
    "build_afe",
    "build_cmn",
    "build_dfn",
    "build_dml",
    "build_mcnn",
    "build_mvcnn",
    "build_nasn",
    "inference_model",
    "modalities_of",
    "transfer_weights",
    "with_views",
]
