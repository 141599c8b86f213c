"""Affine transformations of pictures that XLA compiles, for the layers of Keras."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_compiled = contextvars.ContextVar("compiled", default=False)


@contextlib.contextmanager
def compiled_transforms(on: bool) -> Iterator[None]:
    """While this is on, layers with a `CompiledBackend` transform by what XLA compiles."""
    token = _compiled.set(on)
    try:
        yield
    finally:
        _compiled.reset(token)


class CompiledBackend:
    """The backend of a layer of Keras, with an affine transformation that XLA compiles.

    That of TensorFlow is a kernel that works out each place anew for each channel.

    Args:
        backend: The layer's.
    """

    def __init__(self, backend: Any):
        self._of_layer = backend
        self.image = _CompiledImage(backend)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_layer, name)


class _CompiledImage:
    def __init__(self, backend: Any):
        self._of_layer = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_layer.image, name)

    def affine_transform(self, images, transform, **options):
        plain = options.get("interpolation") == "bilinear"
        if not (_compiled.get() and plain) or options.get("data_format") == "channels_first":
            return self._of_layer.image.affine_transform(images, transform, **options)
        return affine_transform(
            images, transform, options["fill_mode"], options.get("fill_value", 0.0)
        )


def affine_transform(
    images: tf.Tensor, transform: tf.Tensor, fill_mode: str, fill_value: float
) -> tf.Tensor:
    """Transforms as `keras.ops.image.affine_transform` does, bilinear, in two programs of XLA.

    Args:
        images: `(B, H, W, C)` float32, of known H, W and C.
        transform: `(B, 8)`.
        fill_mode: `"constant"`, `"nearest"`, `"reflect"` or `"wrap"`.
        fill_value: With `"constant"`, of pixels outside.
    """
    height, width, channels = images.shape[1:]
    # Two programs, each a loop: fused into one, the places would be computed for every number read.
    find, read = (
        tf.function(function, jit_compile=True, autograph=False) for function in (_find, _read)
    )
    places = find(tf.cast(transform, tf.float32), height, width, fill_mode)
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=float(fill_value))
    moved = read(tf.reshape(padded, (-1, channels)), *places, width + 2)
    return tf.ensure_shape(moved, images.shape)


def _find(transform: tf.Tensor, height: int, width: int, fill_mode: str) -> tuple[tf.Tensor, ...]:
    """Returns, of each pixel, the place of the first of four among all, and how far on it is."""
    a0, a1, a2, b0, b1, b2, c0, c1 = (part[:, :, None] for part in tf.split(transform, 8, axis=1))
    x = tf.range(width, dtype=tf.float32)[None, None]
    y = tf.range(height, dtype=tf.float32)[None, :, None]
    scale = c0 * x + c1 * y + 1.0
    left, right = _cell((a0 * x + a1 * y + a2) / scale, width, fill_mode)
    top, low = _cell((b0 * x + b1 * y + b2) / scale, height, fill_mode)
    first = tf.range(tf.shape(transform)[0])[:, None, None] * (height + 2)
    return (first + top) * (width + 2) + left, right, low


def _read(
    pixels: tf.Tensor, place: tf.Tensor, right: tf.Tensor, low: tf.Tensor, row: int
) -> tf.Tensor:
    """Returns the mean of four neighbouring pixels each, `(B, H, W, C)`."""
    right, low = right[..., None], low[..., None]
    upper, lower = (
        (1.0 - right) * tf.gather(pixels, start) + right * tf.gather(pixels, start + 1)
        for start in (place, place + row)
    )
    return (1.0 - low) * upper + low * lower


def _cell(place: tf.Tensor, size: int, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the pixel before a place, counted with the border of one, and how far on it is."""
    last = size - 1.0
    if fill_mode == "reflect":  # d c b a | a b c d | d c b a
        place = tf.math.floormod(place + 0.5, 2.0 * size)
        place = tf.minimum(place, 2.0 * size - place) - 0.5
    elif fill_mode == "wrap":  # as TensorFlow's kernel does it
        turns = tf.floor(tf.abs(place) / max(last, 1.0))
        turns = tf.where(place < 0, turns + 1.0, tf.where(place > last, -turns, 0.0))
        place += size * turns
    if fill_mode == "constant":
        place = tf.clip_by_value(place, -1.0, float(size)) + 1.0
    else:
        place = tf.clip_by_value(place, 0.0, last) + 1.0
    before = tf.minimum(tf.cast(place, tf.int32), size)
    return before, place - tf.cast(before, tf.float32)
