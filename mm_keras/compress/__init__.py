"""Small, fast models out of trained ones, by the TensorFlow Model Optimization toolkit (TFMOT)."""

from mm_keras.compress.quantize import quantize
from mm_keras.compress.quantized_model import QuantizedModel, StayedFloat

__all__ = ["QuantizedModel", "StayedFloat", "quantize"]
