"""Data pipelines: samples from files, tables and arrays; checks; several datasets as one.

Every source gives samples `({name: …}, labels[, weights])`; `.batch(n).prefetch(2)` makes batches.
"""

from mm_keras.data.arrays import from_arrays
from mm_keras.data.bad_records import BadRecord, BadRecords
from mm_keras.data.cells import read_table
from mm_keras.data.check import check_dataset
from mm_keras.data.folder import from_folder, read_folder
from mm_keras.data.join import join_datasets
from mm_keras.data.label_columns import class_names
from mm_keras.data.labels import labels_for_outputs
from mm_keras.data.schema import Schema, read_schema
from mm_keras.data.sources import ArraySource, FolderSource, TableSource, TFRecordSource
from mm_keras.data.split import split_table
from mm_keras.data.table import from_table
from mm_keras.data.tfds import from_tfds
from mm_keras.data.tfrecords import from_tfrecords, write_tfrecords

__all__ = [
    "ArraySource",
    "BadRecord",
    "BadRecords",
    "FolderSource",
    "Schema",
    "TFRecordSource",
    "TableSource",
    "check_dataset",
    "class_names",
    "from_arrays",
    "from_folder",
    "from_table",
    "from_tfds",
    "from_tfrecords",
    "join_datasets",
    "labels_for_outputs",
    "read_folder",
    "read_schema",
    "read_table",
    "split_table",
    "write_tfrecords",
]
