"""Small, fast models out of trained ones, by the TensorFlow Model Optimization toolkit (TFMOT)."""

from mm_keras.compress.cluster import cluster
from mm_keras.compress.prune import prune
from mm_keras.compress.weights import Sparsity, sparsity, unique_weights

__all__ = ["Sparsity", "cluster", "prune", "sparsity", "unique_weights"]
