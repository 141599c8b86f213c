"""Small fast models from trained ones."""

from mm_keras.compress.quantize import quantize
from mm_keras.compress.quantized_model import QuantizedModel, StayedFloat

__all__ = ["QuantizedModel", "StayedFloat", "quantize"]
