"""Augmentations of encoded rows of a table."""

import dataclasses

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_number
from mm_keras.data.augmentation.base import Augmentation
from mm_keras.data.seeds import uniform
from mm_keras.modalities import Tabular


@dataclasses.dataclass(frozen=True)
class Rows(Augmentation):
    """An augmentation of rows as a `Tabular` spec encodes them.

    Args:
        spec: The adapted spec: which columns are numbers, and their means and variances.
    """

    spec: Tabular

    ranks = (1,)
    floating = True
    takes = "encoded rows (columns,)"

    def __post_init__(self):
        if not isinstance(self.spec, Tabular):
            raise TypeError(f"`spec` must be a mm.Tabular. Received: spec={self.spec!r}.")
        if self.spec.numeric and not self.spec.mean:
            raise ValueError(
                "`spec` must know the means of its columns: call `spec = spec.adapt(columns)` "
                f"first. Received: spec={self.spec!r}."
            )

    def check(self, name, value, present):
        super().check(name, value, present)
        if value.shape[0] not in (None, *self.spec.input_shape):
            raise ValueError(
                f"`spec` must have as many columns as the rows of {name!r}, {value.shape[0]}. "
                f"Received: {self.spec.input_shape[0]} columns."
            )


@dataclasses.dataclass(frozen=True)
class TabularNoise(Rows):
    """Adds noise to the numeric columns, each on its own scale.

    Args:
        spec: The adapted spec.
        scale: Standard deviation of the noise, as a share of the column's own.
    """

    scale: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_number("scale", self.scale)

    def __call__(self, value, seed):
        deviations = np.zeros(self.spec.input_shape, "float32")
        deviations[: len(self.spec.numeric)] = self.scale * np.sqrt(self.spec.variance)
        noise = tf.random.stateless_normal(tf.shape(value), seed)
        return value + tf.cast(noise * deviations, value.dtype)


@dataclasses.dataclass(frozen=True)
class ColumnDropout(Rows):
    """Makes columns unknown: numbers become the column's mean, categories the unknown id 0.

    A hashed cross goes into bucket 0 as soon as one of its columns is dropped.

    Args:
        spec: The adapted spec.
        rate: Probability for each column, in [0, 1).
    """

    rate: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_number("rate", self.rate, below=1.0)

    def __call__(self, value, seed):
        spec = self.spec
        columns = [*spec.numeric, *spec.categorical]
        dropped = uniform(seed, (len(columns),)) < self.rate
        if spec.wide:
            crossed = [
                tf.reduce_any(tf.gather(dropped, [columns.index(name) for name in cross]))
                for cross in spec.wide
            ]
            dropped = tf.concat([dropped, tf.stack(crossed)], axis=0)
        unknown = np.zeros(spec.input_shape, "float32")
        unknown[: len(spec.numeric)] = spec.mean
        return tf.where(dropped, tf.cast(unknown, value.dtype), value)
