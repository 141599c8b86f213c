"""What an input is: frozen, serialisable specs of images, sound, text, video, views and tables.

A spec says what comes in (shape, units) and how it is encoded (backbone, weights, options). It
holds no layers: a builder turns it into an encoder whose features have the shape `(B, N, D)`.
"""

from mm_keras.modalities.audio import Audio
from mm_keras.modalities.base import Modality
from mm_keras.modalities.features import Features
from mm_keras.modalities.image import Image
from mm_keras.modalities.tabular import Tabular
from mm_keras.modalities.text import Text
from mm_keras.modalities.video import Video
from mm_keras.modalities.views import Views

__all__ = ["Audio", "Features", "Image", "Modality", "Tabular", "Text", "Video", "Views"]
