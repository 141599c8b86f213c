"""Augmentations of waveforms: shift, gain, noise, gaps."""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_int
from mm_keras.data.augmentation.base import Augmentation, check_range, check_share
from mm_keras.data.seeds import fold, uniform


class Waveform(Augmentation):
    """An augmentation of a waveform `(samples,)` in −1…1; `on_batch` does the work."""

    ranks = (1,)
    floating = True
    takes = "waveforms (samples,) in −1…1"
    together = True
    fuses = True

    def __call__(self, value, seed):
        return self.on_batch(value[None], seed)[0]


@dataclasses.dataclass(frozen=True)
class TimeShift(Waveform):
    """Moves a sound earlier or later; what is left free becomes silence.

    Args:
        max_share: Largest shift either way, as a share of the length, in [0, 1].
        wrap: Whether what leaves at one end comes in at the other instead.
    """

    max_share: float = 0.1
    wrap: bool = False

    def __post_init__(self):
        check_share("max_share", self.max_share)

    def on_batch(self, value, seed):
        batch, length = tf.unstack(tf.shape(value))
        limit = self.max_share * tf.cast(length, tf.float32)
        shift = tf.round(uniform(seed, (batch, 1), -1.0, 1.0) * limit)
        source = tf.range(length) - tf.cast(shift, tf.int32)
        moved = tf.gather(value, source % length, batch_dims=1)
        if self.wrap:
            return moved
        return tf.where((source >= 0) & (source < length), moved, tf.zeros_like(moved))


@dataclasses.dataclass(frozen=True)
class RandomGain(Waveform):
    """Makes a sound louder or softer, never so loud that it leaves −1…1.

    Args:
        min_db: Lowest gain in dB.
        max_db: Highest gain in dB.
    """

    min_db: float = -6.0
    max_db: float = 6.0

    def __post_init__(self):
        check_range("db", self.min_db, self.max_db)

    def on_batch(self, value, seed):
        gain = 10.0 ** (uniform(seed, (tf.shape(value)[0], 1), self.min_db, self.max_db) / 20.0)
        peak = tf.cast(tf.reduce_max(tf.abs(value), axis=1, keepdims=True), tf.float32)
        loudest = tf.maximum(1.0, tf.math.divide_no_nan(1.0, peak))  # a sound beyond 1 stays
        gain = tf.where(peak > 0, tf.minimum(gain, loudest), gain)
        return value * tf.cast(gain, value.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class AddNoise(Waveform):
    """Adds noise at a signal-to-noise ratio; silence stays silent.

    The ratio is that of the powers over the whole sample, and exact. Where the sum would leave
    −1…1, signal and noise are turned down together.

    Args:
        min_snr_db: Lowest ratio in dB.
        max_snr_db: Highest ratio in dB.
        noise: Recorded noise `(n,)` at the sound's rate, of which a stretch is drawn, from the
            start again where it ends; `None`: white noise.
    """

    min_snr_db: float = 5.0
    max_snr_db: float = 30.0
    noise: np.ndarray | None = None

    fuses: ClassVar[bool] = False  # XLA is slow at drawing normal numbers on a CPU

    def __post_init__(self):
        check_range("snr_db", self.min_snr_db, self.max_snr_db)
        if self.noise is not None:
            noise = np.asarray(self.noise, "float32")
            if noise.ndim != 1 or not noise.size or not np.isfinite(noise).all():
                raise ValueError(
                    "`noise` must be a waveform (n,) of finite numbers. "
                    f"Received: shape {noise.shape}."
                )
            object.__setattr__(self, "noise", noise)

    def on_batch(self, value, seed):
        sound = tf.cast(value, tf.float32)
        batch, length = tf.unstack(tf.shape(sound))
        if self.noise is None:
            noise = tf.random.stateless_normal((batch, length), fold(seed, "noise"))
        else:
            start = tf.random.stateless_uniform(
                (batch, 1), fold(seed, "start"), 0, len(self.noise), dtype=tf.int32
            )
            noise = tf.gather(self.noise, (start + tf.range(length)) % len(self.noise))
        ratio = 10.0 ** (uniform(seed, (batch, 1), self.min_snr_db, self.max_snr_db) / 10.0)
        power, noise_power = (
            tf.reduce_mean(tf.square(wave), axis=1, keepdims=True) for wave in (sound, noise)
        )
        scale = tf.sqrt(tf.math.divide_no_nan(power, noise_power * ratio))
        noisy = sound + scale * noise
        before, after = (
            tf.reduce_max(tf.abs(wave), axis=1, keepdims=True) for wave in (sound, noisy)
        )
        noisy /= tf.maximum(1.0, after / tf.maximum(1.0, before))
        return tf.cast(noisy, value.dtype)


@dataclasses.dataclass(frozen=True)
class TimeMask(Waveform):
    """Silences stretches of a sound: SpecAugment's time masking, on the waveform.

    Args:
        max_share: Longest stretch, as a share of the length, in [0, 1].
        masks: Number of stretches.

    Reference: Park et al., SpecAugment, 2019.
    """

    max_share: float = 0.1
    masks: int = 1

    def __post_init__(self):
        check_share("max_share", self.max_share)
        check_int("masks", self.masks)

    def on_batch(self, value, seed):
        batch, length = tf.unstack(tf.shape(value))
        masked = stretches(length, self.max_share, self.masks, seed, (batch,))
        return tf.where(masked, tf.zeros_like(value), value)


def stretches(
    length: tf.Tensor, max_share: float, count: int, seed: tf.Tensor, batch: tuple = ()
) -> tf.Tensor:
    """Returns `(*batch, length)` bool, true on `count` stretches of random length and place."""
    size = tf.cast(length, tf.float32)
    widths = tf.round(uniform(fold(seed, "width"), (*batch, count, 1)) * max_share * size)
    starts = tf.floor(uniform(fold(seed, "start"), (*batch, count, 1)) * (size - widths + 1))
    places = tf.range(size)
    return tf.reduce_any((places >= starts) & (places < starts + widths), axis=-2)
