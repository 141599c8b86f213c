"""Datasets as TFDS builders; importing this module registers them with TFDS."""

from mm_keras.datasets.av_digits.av_digits import AvDigits
from mm_keras.datasets.av_digits.load import av_digits
from mm_keras.datasets.source import Source

__all__ = ["AvDigits", "Source", "av_digits"]
