"""Encoders: modality → feature sequence `(B, N, D)`."""

from mm_keras.encoders.audio import AudioEncoder
from mm_keras.encoders.backbones import APPLICATIONS, BACKBONES, small_cnn
from mm_keras.encoders.encoder import Encoder
from mm_keras.encoders.features import FeaturesEncoder
from mm_keras.encoders.image import ImageEncoder
from mm_keras.encoders.multi_view import CutAfter, MultiViewEncoder
from mm_keras.encoders.tabular import TabularEncoder
from mm_keras.encoders.text import TextEncoder
from mm_keras.encoders.video import VideoEncoder
from mm_keras.encoders.views import ViewsEncoder
from mm_keras.modalities import Audio, Features, Image, Tabular, Text, Video, Views

ENCODERS = {
    Audio: AudioEncoder,
    Features: FeaturesEncoder,
    Image: ImageEncoder,
    Tabular: TabularEncoder,
    Text: TextEncoder,
    Video: VideoEncoder,
    Views: ViewsEncoder,
}

__all__ = [
    "APPLICATIONS",
    "BACKBONES",
    "ENCODERS",
    "AudioEncoder",
    "CutAfter",
    "Encoder",
    "FeaturesEncoder",
    "ImageEncoder",
    "MultiViewEncoder",
    "TabularEncoder",
    "TextEncoder",
    "VideoEncoder",
    "ViewsEncoder",
    "small_cnn",
]
