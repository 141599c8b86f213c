"""SpecAugment on spectrograms computed beforehand."""

import dataclasses

import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.data.augmentation.audio import stretches
from mm_keras.data.augmentation.base import Augmentation, check_share
from mm_keras.data.elements import as_dtype
from mm_keras.data.seeds import fold


@dataclasses.dataclass(frozen=True)
class SpecAugment(Augmentation):
    """Masks stretches of time and bands of frequency of a spectrogram.

    For spectrograms that come as `mm.Image` (rows are frequencies, columns are times) or
    `mm.Features` (positions are times). `mm.Audio` makes its spectrogram inside the model: use
    `TimeMask` on its waveform.

    Args:
        max_time: Longest stretch of time, as a share, in [0, 1].
        max_frequency: Widest band, as a share, in [0, 1].
        time_masks: Number of stretches.
        frequency_masks: Number of bands.
        fill: What masked places hold; `None`: the sample's mean.

    Reference: Park et al., SpecAugment, 2019.
    """

    max_time: float = 0.1
    max_frequency: float = 0.2
    time_masks: int = 1
    frequency_masks: int = 1
    fill: float | None = None

    ranks = (2, 3)
    takes = "spectrograms: pictures (H, W, C) of H frequencies, or features (T, W) of T times"

    def __post_init__(self):
        check_share("max_time", self.max_time)
        check_share("max_frequency", self.max_frequency)
        check_int("time_masks", self.time_masks, minimum=0)
        check_int("frequency_masks", self.frequency_masks, minimum=0)

    def __call__(self, value, seed):
        time_axis, frequency_axis = (1, 0) if value.shape.rank == 3 else (0, 1)
        shape = tf.shape(value)
        masked = tf.zeros_like(value, tf.bool)
        for axis, share, count in (
            (time_axis, self.max_time, self.time_masks),
            (frequency_axis, self.max_frequency, self.frequency_masks),
        ):
            if count:
                here = stretches(shape[axis], share, count, fold(seed, axis))
                masked |= tf.reshape(
                    here, [-1 if a == axis else 1 for a in range(len(value.shape))]
                )
        numbers = tf.cast(value, tf.float32)
        fill = tf.reduce_mean(numbers) if self.fill is None else self.fill
        return as_dtype(tf.where(masked, fill, numbers), value.dtype)
