"""Small, fast models out of trained ones, by the TensorFlow Model Optimization toolkit (TFMOT)."""

from mm_keras.compress.cluster import cluster
from mm_keras.compress.distil import distil
from mm_keras.compress.prune import prune
from mm_keras.compress.quantize import quantize
from mm_keras.compress.quantize_aware import quantize_aware
from mm_keras.compress.quantized_model import QuantizedModel, StayedFloat
from mm_keras.compress.report import Row, report
from mm_keras.compress.sensitivity import Cost, sensitivity
from mm_keras.compress.weights import Sparsity, sparsity, unique_weights

__all__ = [
    "Cost",
    "QuantizedModel",
    "Row",
    "Sparsity",
    "StayedFloat",
    "cluster",
    "distil",
    "prune",
    "quantize",
    "quantize_aware",
    "report",
    "sensitivity",
    "sparsity",
    "unique_weights",
]
