"""Data pipelines: checks, labels for all outputs, batches of several domains."""

from mm_keras.data.check import check_dataset
from mm_keras.data.domains import domain_batches, domain_pairs
from mm_keras.data.labels import labels_for_outputs

__all__ = ["check_dataset", "domain_batches", "domain_pairs", "labels_for_outputs"]
