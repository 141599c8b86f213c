"""What a written model does to raw inputs before the graph sees them."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_keras.data.decode.pixels import fit_pixels
from mm_keras.modalities import Audio, Image, Modality, Text, Video, Views

Step = Callable[[tf.Tensor], tf.Tensor]


class RawInput(NamedTuple):
    """An input that is taken as it comes.

    Args:
        signature: Of what is given, with the batch axis.
        prepare: Makes of it what the graph takes.
        layer: With the state that `prepare` needs, or `None`.
    """

    signature: tf.TensorSpec
    prepare: Step
    layer: keras.layers.Layer | None = None


def raw_input(name: str, spec: Modality, resize: bool | str, strings: bool) -> RawInput | None:
    """Returns how a modality is taken raw, or `None` where it is taken as the graph takes it.

    Args:
        name: Of the modality.
        spec: Says what the graph takes.
        resize: As in `mm.data.from_table`: `True`, `"pad"` or `"crop"`.
        strings: Whether the format has strings, lookup tables and antialiased resizing. If not,
            texts stay ids, and pictures are stretched by arithmetic alone, with the same result.
    """
    if isinstance(spec, Image | Views | Video):
        *several, height, width, channels = spec.input_shape
        shape = (None, *several, None, None, channels)

        def prepare(pixels: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(pixels, tf.concat([[-1], tf.shape(pixels)[-3:]], 0))
            flat = tf.ensure_shape(flat, (None, None, None, channels)) if strings else flat
            fit = fit_pixels if strings else _stretched
            fitted = tf.cast(fit(flat, height, width, resize), tf.float32)
            return tf.reshape(fitted, (-1, *spec.input_shape))

        return RawInput(tf.TensorSpec(shape, tf.uint8, name=name), prepare)
    if isinstance(spec, Audio):

        def fit(waveform: tf.Tensor) -> tf.Tensor:
            cut = waveform[:, : spec.samples]
            cut = tf.pad(cut, [[0, 0], [0, spec.samples - tf.shape(cut)[1]]])
            return tf.reshape(cut, (-1, spec.samples))

        return RawInput(tf.TensorSpec((None, None), tf.float32, name=name), fit)
    if isinstance(spec, Text) and spec.vocabulary and strings:
        vectorizer = spec.vectorizer()
        vectorizer(["built"])

        def vectorize(texts: tf.Tensor) -> tf.Tensor:
            return tf.cast(vectorizer(texts), tf.int32)

        return RawInput(tf.TensorSpec((None,), tf.string, name=name), vectorize, vectorizer)
    return None


def _stretched(pixels: tf.Tensor, height: int, width: int, resize: bool) -> tf.Tensor:
    """Does what `fit_pixels` does with `resize=True`, by products of matrices."""
    size = tf.shape(pixels)
    rows = _triangle_weights(height, size[1])
    columns = _triangle_weights(width, size[2])
    scaled = tf.einsum("ih,bhwc->biwc", rows, tf.cast(pixels, tf.float32))
    scaled = tf.einsum("jw,biwc->bijc", columns, scaled)
    return tf.clip_by_value(tf.round(scaled), 0, 255)


def _triangle_weights(wanted: int, found: tf.Tensor) -> tf.Tensor:
    """Returns `(wanted, found)`: how much each pixel counts, bilinear with antialiasing."""
    step = tf.cast(found, tf.float32) / wanted
    centers = (tf.range(wanted, dtype=tf.float32) + 0.5) * step
    pixels = tf.cast(tf.range(found), tf.float32) + 0.5
    distance = tf.abs(pixels[None, :] - centers[:, None])
    weights = tf.maximum(0.0, 1.0 - distance / tf.maximum(step, 1.0))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
