"""Models to files and back: `.keras`, SavedModel, LiteRT and ONNX."""

from mm_keras.exporting.card import read_card
from mm_keras.exporting.export import export
from mm_keras.exporting.export_file import export_file
from mm_keras.exporting.exported_model import ExportedModel, TensorInfo
from mm_keras.exporting.flops import flops
from mm_keras.exporting.litert import LiteRTModel
from mm_keras.exporting.load import load
from mm_keras.exporting.onnx_model import ONNXModel
from mm_keras.exporting.parity import ParityError
from mm_keras.exporting.retrieval_index import Neighbours, RetrievalIndex
from mm_keras.exporting.saved_model import SavedModel
from mm_keras.exporting.unsupported import UnsupportedError
from mm_keras.exporting.writers import FORMATS

__all__ = [
    "FORMATS",
    "ExportedModel",
    "LiteRTModel",
    "Neighbours",
    "ONNXModel",
    "ParityError",
    "RetrievalIndex",
    "SavedModel",
    "TensorInfo",
    "UnsupportedError",
    "export",
    "export_file",
    "flops",
    "load",
    "read_card",
]
