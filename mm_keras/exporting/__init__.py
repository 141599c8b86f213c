"""Models to files: `.keras` and SavedModel."""

from mm_keras.exporting.export import FORMATS, export

__all__ = ["FORMATS", "export"]
