"""Sources that a few lines of YAML describe, splits included; what `mm-keras train` reads."""

from mm_keras.data.sources.array_source import ArraySource
from mm_keras.data.sources.described import Described
from mm_keras.data.sources.folder_source import FolderSource
from mm_keras.data.sources.rows import RowSource
from mm_keras.data.sources.table_source import TableSource
from mm_keras.data.sources.tfrecord_source import TFRecordSource

__all__ = [
    "ArraySource",
    "Described",
    "FolderSource",
    "RowSource",
    "TFRecordSource",
    "TableSource",
]
