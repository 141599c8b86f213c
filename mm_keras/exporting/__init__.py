"""Models to files and back: `.keras`, SavedModel and LiteRT."""

from mm_keras.exporting.export import FORMATS, export
from mm_keras.exporting.exported_model import ExportedModel, TensorInfo
from mm_keras.exporting.litert import LiteRTModel

__all__ = ["FORMATS", "ExportedModel", "LiteRTModel", "TensorInfo", "export"]
