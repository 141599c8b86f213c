"""Data pipelines: augment, mix, balance, join and check what a model is trained on."""

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
    ViewDropout,
    ViewShuffle,
    augment,
)
from mm_keras.data.balance import balance
from mm_keras.data.check import check_dataset
from mm_keras.data.class_counts import class_counts
from mm_keras.data.class_weights import add_class_weights, class_weights
from mm_keras.data.drop import drop_modalities
from mm_keras.data.feature_cache import CachedFeatures, cache_features
from mm_keras.data.join import join_datasets
from mm_keras.data.labels import labels_for_outputs
from mm_keras.data.mix import mix
from mm_keras.data.one_hot import one_hot_labels
from mm_keras.data.pairs import pairs
from mm_keras.data.streams import Stream, Window, align_streams, stream_dataset

__all__ = [
    "AddNoise",
    "AllFrames",
    "Augmentation",
    "CachedFeatures",
    "ColumnDropout",
    "EachView",
    "ImageLayer",
    "RandomGain",
    "SomeOf",
    "Sometimes",
    "SpecAugment",
    "Stream",
    "TabularNoise",
    "TimeMask",
    "TimeShift",
    "TokenDropout",
    "TokenSwap",
    "ViewDropout",
    "ViewShuffle",
    "Window",
    "add_class_weights",
    "align_streams",
    "augment",
    "balance",
    "cache_features",
    "check_dataset",
    "class_counts",
    "class_weights",
    "drop_modalities",
    "join_datasets",
    "labels_for_outputs",
    "mix",
    "one_hot_labels",
    "pairs",
    "stream_dataset",
]
