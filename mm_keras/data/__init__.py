"""Data pipelines: the check that a dataset fits a model, and labels for all its outputs."""

from mm_keras.data.check import check_dataset
from mm_keras.data.labels import labels_for_outputs

__all__ = ["check_dataset", "labels_for_outputs"]
