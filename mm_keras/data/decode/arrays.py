"""NumPy files."""

import io

import numpy as np
import tensorflow as tf

from mm_keras.data.decode.common import as_bytes
from mm_keras.data.decode.pixels import Decoder

SUFFIXES = (".npy",)


def array_decoder(shape: tuple[int, ...]) -> Decoder:
    """Returns a function from the path of a .npy file (and a seed, unused) to float32 numbers."""

    def load(data: bytes) -> np.ndarray:
        values = np.load(io.BytesIO(as_bytes(data)), allow_pickle=False)
        if values.shape != shape:
            raise ValueError(f"the spec wants the shape {shape}, the file has {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity")
        return values.astype("float32")

    def decode(path: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        values = tf.numpy_function(load, [tf.io.read_file(path)], tf.float32)
        return tf.ensure_shape(values, shape)

    return decode
