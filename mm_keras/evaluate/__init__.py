"""Evaluation: arrays in, figures out. NumPy only."""

from mm_keras.evaluate.retrieval import retrieval_metrics

__all__ = ["retrieval_metrics"]
