"""How a camera was held: the EXIF tag of a JPEG, and pixels turned upright."""

import struct

import numpy as np
import tensorflow as tf

from mm_keras.data.decode.common import as_bytes

ORIENTATION = 0x0112
HEAD = 65_536  # bytes in which the tag is looked for; cameras write it first


def upright(data: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Returns a picture `(H, W, C)` turned as the EXIF orientation of its file says.

    A file without EXIF costs a look at its first bytes; only a file that has it is parsed.

    Args:
        data: The bytes of the file.
        pixels: Decoded from it.
    """
    head = tf.strings.substr(data, 0, HEAD)

    def turned() -> tf.Tensor:
        turn = tf.numpy_function(orientation_of, [head], tf.int32, stateful=False)
        return _turned(pixels, tf.ensure_shape(turn, ()))

    has_exif = tf.strings.regex_full_match(head, r"\C*Exif\x00\x00\C*")  # \C is any byte
    return tf.cond(has_exif, turned, lambda: pixels)


def orientation_of(data: bytes) -> np.int32:
    """Returns the EXIF orientation of a JPEG, 1 to 8; 1, upright, where it says none."""
    data = as_bytes(data)
    try:
        return np.int32(_tag(data) if data.startswith(b"\xff\xd8") else 1)
    except (struct.error, ValueError):  # bytes that end early or are no EXIF: none is said
        return np.int32(1)


def _tag(data: bytes) -> int:
    tiff = data[data.index(b"Exif\0\0") + 6 :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * entry)
        if tag == ORIENTATION:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def _turned(pixels: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Transposes where the orientation is 5 to 8, then mirrors left to right, top to bottom."""

    def where(turns: tuple[int, ...], change, image):
        image = tf.cond(tf.reduce_any(tf.equal(turn, turns)), lambda: change(image), lambda: image)
        return tf.ensure_shape(image, (None, None, pixels.shape[-1]))

    pixels = where((5, 6, 7, 8), lambda image: tf.transpose(image, (1, 0, 2)), pixels)
    pixels = where((2, 3, 6, 7), lambda image: image[:, ::-1], pixels)
    return where((3, 4, 7, 8), lambda image: image[::-1], pixels)
