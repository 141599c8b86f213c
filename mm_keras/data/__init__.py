"""Data pipelines: does a dataset fit a model, labels for all outputs, several datasets as one."""

from mm_keras.data.check import check_dataset
from mm_keras.data.join import join_datasets
from mm_keras.data.labels import labels_for_outputs

__all__ = ["check_dataset", "join_datasets", "labels_for_outputs"]
