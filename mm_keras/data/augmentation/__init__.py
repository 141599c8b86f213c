"""Random changes of single samples, one modality each."""

from mm_keras.data.augmentation.audio import AddNoise, RandomGain, TimeMask, TimeShift
from mm_keras.data.augmentation.augment import augment
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.augmentation.choice import SomeOf, Sometimes
from mm_keras.data.augmentation.image import AllFrames, EachView, ImageLayer
from mm_keras.data.augmentation.spectrogram import SpecAugment
from mm_keras.data.augmentation.tabular import ColumnDropout, TabularNoise
from mm_keras.data.augmentation.text import TokenDropout, TokenSwap
from mm_keras.data.augmentation.views import ViewMask, ViewShuffle

__all__ = [
    "AddNoise",
    "AllFrames",
    "Augmentation",
    "ColumnDropout",
    "EachView",
    "ImageLayer",
    "RandomGain",
    "SomeOf",
    "Sometimes",
    "SpecAugment",
    "TabularNoise",
    "TimeMask",
    "TimeShift",
    "TokenDropout",
    "TokenSwap",
    "ViewMask",
    "ViewShuffle",
    "augment",
]
