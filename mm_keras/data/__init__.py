"""Data pipelines: from files, tables and arrays to what a model is trained on.

Every source gives samples `({name: …}, labels[, weights])`; what augments, mixes, balances, joins
or checks takes them; `.batch(n).prefetch(2)` makes batches.
"""

from mm_keras.data.arrays import from_arrays
from mm_keras.data.augmentation import (
    AddNoise,
    AllFrames,
    Augmentation,
    ColumnDropout,
    EachView,
    ImageLayer,
    RandomGain,
    SomeOf,
    Sometimes,
    SpecAugment,
    TabularNoise,
    TimeMask,
    TimeShift,
    TokenDropout,
    TokenSwap,
    ViewMask,
    ViewShuffle,
    augment,
)
from mm_keras.data.bad_records import (
    BadRecord,
    BadRecords,
)
from mm_keras.data.balance import balance
from mm_keras.data.cells import read_table
from mm_keras.data.check import check_dataset
from mm_keras.data.class_counts import class_counts
from mm_keras.data.class_weights import (
    add_class_weights,
    class_weights,
)
from mm_keras.data.domain_pairs import domain_pairs
from mm_keras.data.domains import domain_batches
from mm_keras.data.drop import drop_modalities
from mm_keras.data.feature_cache import (
    CachedFeatures,
    cache_features,
)
from mm_keras.data.folder import (
    from_folder,
    read_folder,
)
from mm_keras.data.join import join_datasets
from mm_keras.data.label_columns import class_names
from mm_keras.data.labels import labels_for_outputs
from mm_keras.data.mix import mix
from mm_keras.data.one_hot import one_hot_labels
from mm_keras.data.pairs import pairs
from mm_keras.data.schema import (
    Schema,
    read_schema,
)
from mm_keras.data.sources import (
    ArraySource,
    FolderSource,
    TableSource,
    TFRecordSource,
)
from mm_keras.data.split import split_table
from mm_keras.data.streams import (
    Stream,
    Window,
    align_streams,
    stream_dataset,
)
from mm_keras.data.table import from_table
from mm_keras.data.tfds import from_tfds
from mm_keras.data.tfrecords import (
    from_tfrecords,
    write_tfrecords,
)

__all__ = [
    "AddNoise",
    "AllFrames",
    "ArraySource",
    "Augmentation",
    "BadRecord",
    "BadRecords",
    "CachedFeatures",
    "ColumnDropout",
    "EachView",
    "FolderSource",
    "ImageLayer",
    "RandomGain",
    "Schema",
    "SomeOf",
    "Sometimes",
    "SpecAugment",
    "Stream",
    "TFRecordSource",
    "TableSource",
    "TabularNoise",
    "TimeMask",
    "TimeShift",
    "TokenDropout",
    "TokenSwap",
    "ViewMask",
    "ViewShuffle",
    "Window",
    "add_class_weights",
    "align_streams",
    "augment",
    "balance",
    "cache_features",
    "check_dataset",
    "class_counts",
    "class_names",
    "class_weights",
    "domain_batches",
    "domain_pairs",
    "drop_modalities",
    "from_arrays",
    "from_folder",
    "from_table",
    "from_tfds",
    "from_tfrecords",
    "join_datasets",
    "labels_for_outputs",
    "mix",
    "one_hot_labels",
    "pairs",
    "read_folder",
    "read_schema",
    "read_table",
    "split_table",
    "stream_dataset",
    "write_tfrecords",
]
