"""Sound as the model sees it."""

import keras
import numpy as np

from mm_keras.encoders import AudioEncoder
from mm_keras.modalities import Audio


def spectrograms(spec: Audio, sound: np.ndarray) -> np.ndarray:
    """Returns log-mel spectrograms `(n, mel bins, T)` 0–255 of waveforms `(n, samples)`."""
    layer = AudioEncoder.make_spectrogram(spec)
    pictures = keras.ops.convert_to_numpy(layer(sound.astype("float32")))
    return np.moveaxis(pictures[..., 0], 1, 2)
