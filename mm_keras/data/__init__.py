"""Data pipelines: checks, labels for all outputs, batches of several domains, datasets as one."""

from mm_keras.data.check import check_dataset
from mm_keras.data.domain_pairs import domain_pairs
from mm_keras.data.domains import domain_batches
from mm_keras.data.join import join_datasets
from mm_keras.data.labels import labels_for_outputs

__all__ = [
    "check_dataset",
    "domain_batches",
    "domain_pairs",
    "join_datasets",
    "labels_for_outputs",
]
