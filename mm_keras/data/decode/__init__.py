"""Files to tensors: each function gives exactly what the spec says, or raises."""

from mm_keras.data.decode.arrays import array_decoder
from mm_keras.data.decode.pixels import fit_pixels, image_decoder
from mm_keras.data.decode.sound import audio_decoder
from mm_keras.data.decode.video import video_decoder

__all__ = ["array_decoder", "audio_decoder", "fit_pixels", "image_decoder", "video_decoder"]
