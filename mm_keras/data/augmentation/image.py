"""The image augmentations of keras.layers, with draws that depend on the sample alone."""

import keras
import tensorflow as tf

from mm_keras.data.augmentation.affine import CompiledBackend
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.elements import as_dtype
from mm_keras.data.seeds import fold

BATCH_MIXERS = ("MixUp", "CutMix")

# Layers that draw for each picture of a batch; all others are given one picture at a time.
POINTWISE = (  # XLA makes one loop of several
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomContrast",
    "RandomFlip",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomSharpness",
)
TOGETHER = (
    *POINTWISE,
    "AutoContrast",
    "Equalization",
    "RandomColorJitter",
    "RandomErasing",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
)


class _SampleSeeds(keras.random.SeedGenerator):
    """Gives a layer seeds made of the sample's, instead of those of a counter.

    The counter of Keras is a variable: it goes on in whatever order parallel calls come, so the
    same seed gives another stream each time.
    """

    def __init__(self):
        super().__init__(seed=0)
        self.start(None)

    def start(self, seed: tf.Tensor | None) -> None:
        self.sample_seed = seed
        self.draws = 0

    def next(self, ordered=True):
        self.draws += 1
        return fold(self.sample_seed, self.draws)


class ImageLayer(Augmentation):
    """An image augmentation of `keras.layers` on pictures; `augment` wraps plain layers itself.

    A copy of the layer is used, whose random numbers come from the sample's seed: the layer's own
    seed has no effect. Pixels are 0–255, which is what these layers expect by default
    (`value_range`); whole numbers are rounded and kept within the range of their type.

    Args:
        layer: E.g. `keras.layers.RandAugment()`, `keras.layers.RandomFlip("horizontal")`.
    """

    ranks = (3,)
    takes = (
        "single pictures (H, W, C); wrap it in mm.data.AllFrames for a video (one draw for all "
        "frames) or in mm.data.EachView for views (a draw for each)"
    )

    def __init__(self, layer: keras.layers.Layer):
        if type(layer).__name__ in BATCH_MIXERS:
            raise ValueError(
                "`augmentations` must change one sample at a time. Received: "
                f"{type(layer).__name__}, which would mix one modality and leave the others "
                "alone: use mm.data.mix."
            )
        if type(layer).__name__ == "AugMix":
            raise ValueError(
                "`augmentations` must not have keras.layers.AugMix, which within tf.data chooses "
                "its chains once for all samples: use mm.data.SomeOf over the layers."
            )
        self.layer = _copy(layer)
        self.together = type(layer).__name__ in TOGETHER
        self.fuses = type(layer).__name__ in POINTWISE
        self._seeds = _SampleSeeds()
        parts = _parts(self.layer)
        if not all(hasattr(part, "_get_seed_generator") for part in parts):
            raise TypeError(
                "`augmentations` must have layers of keras.layers that augment images, e.g. "
                "keras.layers.RandomFlip(); or functions of a value and a seed. "
                f"Received: {layer!r}."
            )
        for part in parts:  # where a layer of Keras asks for its seeds, whatever the backend
            part._get_seed_generator = lambda backend=None: self._seeds
            part.backend = CompiledBackend(part.backend)

    def __call__(self, value, seed):
        return as_dtype(self.on_batch(value, seed), value.dtype)

    def on_batch(self, value, seed):
        self._seeds.start(seed)
        return self.layer(value, training=True)


def _copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if type(layer).__name__ == "RandomShear":  # it refuses its own config: (−f, f) instead of f
        config |= {key: max(config[key]) for key in ("x_factor", "y_factor")}
    return type(layer).from_config(config)


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and the layers within it."""
    found = [layer]
    for value in list(vars(layer).values()):
        if isinstance(value, keras.layers.Layer):
            found += _parts(value)
    return found


class _Pictures(Augmentation):
    """An augmentation of each of several pictures."""

    ranks = (4,)

    def __init__(self, augmentation):
        self.augmentation = as_augmentation(augmentation)

    def check(self, name, value, present):
        super().check(name, value, present)
        self.augmentation.check(name, tf.TensorSpec(value.shape[1:], value.dtype), None)


class AllFrames(_Pictures):
    """The same change of all frames of a video: one draw for all of them.

    Args:
        augmentation: Of a picture: a layer of `keras.layers`, an `Augmentation`, or a function of
            a picture and a seed.

    Example:

    >>> import keras, tensorflow as tf
    >>> import mm_keras as mm
    >>> flip = mm.data.AllFrames(keras.layers.RandomFlip())
    >>> data = tf.data.Dataset.from_tensors(({"video": tf.zeros((5, 8, 8, 3))}, 0))
    >>> mm.data.augment(data, {"video": flip}, seed=0).element_spec[0]["video"].shape
    TensorShape([5, 8, 8, 3])
    """

    takes = "frames (T, H, W, C)"

    def __call__(self, value, seed):
        return tf.map_fn(lambda frame: self.augmentation(frame, seed), value)


class EachView(_Pictures):
    """A change of every view of an object, with a draw for each.

    Args:
        augmentation: Of a picture, as for `AllFrames`.
    """

    takes = "views (V, H, W, C)"

    def __call__(self, value, seed):
        def change(numbered):
            number, view = numbered
            return self.augmentation(view, fold(seed, number))

        numbers = tf.range(tf.shape(value)[0])
        return tf.map_fn(change, (numbers, value), fn_output_signature=value.dtype)


class _Function(Augmentation):
    """A function of a value and a seed."""

    def __init__(self, function):
        self.function = function

    def __call__(self, value, seed):
        return self.function(value, seed)


def as_augmentation(given) -> Augmentation:
    """Returns an augmentation of a layer of keras.layers, a function, or an augmentation.

    Raises:
        TypeError: For anything else.
    """
    if isinstance(given, Augmentation):
        return given
    if isinstance(given, keras.layers.Layer):
        return ImageLayer(given)
    if callable(given) and not isinstance(given, type):
        return _Function(given)
    raise TypeError(
        "`augmentations` must be mm.data augmentations, layers of keras.layers that augment "
        f"images, or functions of a value and a seed. Received: {given!r}."
    )
