"""PNG, JPEG, BMP and GIF files, and the sizes of pictures."""

from collections.abc import Callable

import tensorflow as tf

from mm_keras._checks import check_bool, check_choice
from mm_keras.data.decode.common import require
from mm_keras.data.decode.orientation import upright

RESIZES = (False, True, "pad", "crop")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

Decoder = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def image_decoder(
    shape: tuple[int, int, int], resize: bool | str = False, exif: bool = True
) -> Decoder:
    """Returns a function from a path (and a seed, unused) to pixels `(H, W, C)` uint8.

    Grey becomes colour and colour grey where `C` asks for it; an alpha channel is dropped for
    `C = 3`; 16 bits are reduced to 8; of an animation the first picture is taken; a JPEG is turned
    upright as its EXIF orientation says, unless `exif` is false.

    Args:
        shape: `(H, W, C)`.
        resize: As in `fit_pixels`.
        exif: Whether pictures are turned as the EXIF orientation of their files says.
    """
    height, width, channels = shape
    check_choice("resize", resize, RESIZES)
    check_bool("exif", exif)

    def decode(path: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        data = tf.io.read_file(path)
        known = channels if channels in (1, 3, 4) else 0
        pixels = tf.io.decode_image(data, channels=known, expand_animations=False)
        if not known:
            found = tf.shape(pixels)[-1]
            wanted = f"the spec wants {channels} channels, the picture has "
            with require(tf.equal(found, channels), wanted, found):
                pixels = tf.identity(pixels)
        pixels = tf.ensure_shape(pixels, (None, None, channels))
        if exif:
            pixels = upright(data, pixels)
        return fit_pixels(pixels, height, width, resize)

    return decode


def fit_pixels(pixels: tf.Tensor, height: int, width: int, resize: bool | str = False) -> tf.Tensor:
    """Brings pixels `(…, H', W', C)`, uint8, to `(…, H, W, C)`, or raises.

    Args:
        pixels: One picture, or `T` of them.
        height: H in pixels.
        width: W in pixels.
        resize: `False`: another size is an error. `True`: stretched to the size. `"pad"`: scaled as
            a whole, with black bars. `"crop"`: scaled, what is too long is cut off on both sides.
            Scaling is bilinear, with antialiasing.
    """
    size = tf.shape(pixels)[-3:-1]
    same = tf.reduce_all(tf.equal(size, (height, width)))
    final = (*pixels.shape[:-3], height, width, pixels.shape[-1])
    if not resize:
        with require(
            same,
            f"the spec wants {height}x{width} pixels, the picture has ",
            size[0],
            "x",
            size[1],
            "; resize=True, 'pad' or 'crop' would fit it",
        ):
            return tf.ensure_shape(tf.identity(pixels), final)

    if resize is True:
        return tf.ensure_shape(_stretched(pixels, height, width), final)

    def resized() -> tf.Tensor:
        if resize == "pad":
            scaled = tf.image.resize_with_pad(pixels, height, width, antialias=True)
            return tf.cast(scaled + 0.5, tf.uint8)  # bilinear: never beyond 0–255
        return _stretched(_central(pixels, size, height, width), height, width)

    return tf.ensure_shape(tf.cond(same, lambda: tf.identity(pixels), resized), final)


def _stretched(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Scales pixels to a size; where nothing gets smaller, antialiasing would change nothing."""
    images = pixels if pixels.shape.rank == 4 else pixels[None]
    scaled = tf.cond(
        tf.reduce_all(tf.shape(images)[1:3] <= (height, width)),
        lambda: tf.raw_ops.ResizeBilinear(
            images=images, size=(height, width), half_pixel_centers=True
        ),
        lambda: tf.image.resize(images, (height, width), antialias=True),
    )
    pixels = scaled if pixels.shape.rank == 4 else scaled[0]
    return tf.cast(pixels + 0.5, tf.uint8)


def _central(pixels: tf.Tensor, size: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Cuts out the largest central part that has the proportions of `height:width`."""
    scale = tf.minimum(size[0] / height, size[1] / width)
    wanted = tf.cast(tf.round(scale * tf.constant((height, width), tf.float64)), tf.int32)
    wanted = tf.clip_by_value(wanted, 1, size)
    top, left = tf.unstack((size - wanted) // 2)
    return pixels[..., top : top + wanted[0], left : left + wanted[1], :]
