"""Loads the embedded audio-visual digits, with reproducible noise in both modalities."""

import math
import numbers
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from mm_keras.datasets.av_digits.av_digits import SPLITS, AvDigits, voice_split
from mm_keras.datasets.av_digits.speech import MAX_SAMPLES, read_speech

IMAGE_NOISE = 105.0  # standard deviation, pixels of 0–255
AUDIO_SNR_DB = 0.0  # decibels
BABBLE_TALKERS = 6
_FULL_SCALE = 32768.0

# Named everywhere: left to itself, TensorFlow picks another generator on other devices.
_ALGORITHM = "philox"

Example = dict[str, tf.Tensor]


def av_digits(
    split: str,
    *,
    image_noise: float = IMAGE_NOISE,
    audio_snr_db: float | None = AUDIO_SNR_DB,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> tf.data.Dataset:
    """Loads handwritten digits paired with the same digit spoken, as noisy as asked.

    The smallest multimodal problem that is worth fusing: it needs no network and, at the default
    noise, either modality alone is clearly worse than both. The speech is synthetic (espeak-ng).
    The first call prepares the data in `data_dir`.

    The defaults are `IMAGE_NOISE`, 105 pixels, and `AUDIO_SNR_DB`, 0 dB. The noise of an example
    depends on `seed` and the example alone: it is the same in every epoch and in any order.

    Args:
        split: "train", "validation" or "test". No image and no voice is in two of them.
        image_noise: Standard deviation of Gaussian noise added to the pixels, in pixels of 0–255;
            the sum is rounded and clipped to 0–255. 0 leaves the image as it is.
        audio_snr_db: Ratio of speech to noise in decibels. The noise is babble: six clips of other
            voices of the same split, each rotated in time by a random amount. The power of the
            speech is averaged over the clip, that of the babble over all 0.8 s. A mixture that
            would pass −1…1 is scaled down as a whole. None leaves the speech as it is.
        seed: Selects the noise; at least 0 and below 2**31.
        data_dir: Folder of the prepared TFDS data; None means TFDS's own default.

    Returns:
        An unbatched `tf.data.Dataset` of known length and fixed order. Its elements are
        `({"image": uint8 (8, 8, 1) in 0–255, "audio": float32 (6400,) in −1…1}, int64 label)`;
        the audio is 0.8 s at 8 kHz.

    Raises:
        ValueError: If an argument is not among the values above.

    Example:
        ```python
        from mm_keras.datasets import av_digits

        train = av_digits("train").cache().shuffle(2400).batch(32)
        test = av_digits("test").batch(32)
        ```

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository, 1998.
    """
    _check_arguments(split, image_noise, audio_snr_db, seed)
    builder = AvDigits(data_dir=None if data_dir is None else os.fspath(data_dir))
    builder.download_and_prepare()
    # Decoded here: decoding by TFDS 4.9.10 logs a deprecation warning of its own.
    skip = {"audio": tfds.decode.SkipDecoding()}
    examples = builder.as_dataset(split=split, shuffle_files=False, decoders=skip)
    add_babble = None if audio_snr_db is None else _babble(split, float(audio_snr_db))

    def element(example: Example) -> tuple[Example, tf.Tensor]:
        image = example["image"]
        packed = tf.io.decode_compressed(example["audio"], compression_type="ZLIB")
        audio = tf.reshape(tf.io.decode_raw(packed, tf.int16), (MAX_SAMPLES,))
        audio = tf.cast(audio, tf.float32) / _FULL_SCALE
        stream = _fold_in(tf.constant([seed, 0], tf.int64), example["index"])
        if image_noise:
            image = _add_pixel_noise(image, float(image_noise), _fold_in(stream, 0))
        if add_babble is not None:
            audio = add_babble(audio, example, _fold_in(stream, 1))
        return {"image": image, "audio": audio}, example["label"]

    return examples.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _fold_in(seed: tf.Tensor, data: tf.Tensor | int) -> tf.Tensor:
    return tf.random.fold_in(seed, data, alg=_ALGORITHM)


def _add_pixel_noise(image: tf.Tensor, deviation: float, seed: tf.Tensor) -> tf.Tensor:
    noise = tf.random.stateless_normal(tf.shape(image), seed, stddev=deviation, alg=_ALGORITHM)
    noisy = tf.clip_by_value(tf.round(tf.cast(image, tf.float32) + noise), 0.0, 255.0)
    return tf.ensure_shape(tf.cast(noisy, tf.uint8), image.shape)


def babblers(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns which clips may babble behind each clip of a split: those of its other voices.

    Args:
        split: "train", "validation" or "test".

    Returns:
        Three int64 arrays: `rows`, the split's clips, voice after voice; `first` and `count`, both
        indexed by clip. Behind `clip`, `rows[(first[clip] + step) % len(rows)]` may babble for
        `step` in `0..count[clip] - 1`. The entries of other splits' clips have no meaning.
    """
    voice = read_speech().voice
    rows = np.flatnonzero(np.isin(voice, voice_split()[split]))
    first = np.searchsorted(voice[rows], voice, side="right")  # just after the speaker's own
    own = np.bincount(voice)[voice]
    return rows, first, len(rows) - own


def _babble(split: str, snr_db: float) -> Callable[[tf.Tensor, Example, tf.Tensor], tf.Tensor]:
    """Returns the function that mixes babble of a split's voices into an example's audio."""
    rows, first, count = babblers(split)
    bank = tf.constant(read_speech().audio[rows])
    first, count = tf.constant(first, tf.int64), tf.constant(count, tf.int64)
    amplitude = 10.0 ** (-snr_db / 20.0)

    def uniform(shape: tuple[int, ...], seed: tf.Tensor, below: tf.Tensor | int) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, 0, below, tf.int64, alg=_ALGORITHM)

    def add(audio: tf.Tensor, example: Example, seed: tf.Tensor) -> tf.Tensor:
        pick, turn = tf.unstack(tf.random.split(seed, 2, alg=_ALGORITHM))
        clip = example["clip_id"]
        steps = uniform((BABBLE_TALKERS,), pick, count[clip])
        talkers = tf.gather(bank, (first[clip] + steps) % len(rows))
        turns = uniform((BABBLE_TALKERS, 1), turn, MAX_SAMPLES)
        when = (tf.range(MAX_SAMPLES, dtype=tf.int64) + turns) % MAX_SAMPLES
        talkers = tf.gather(talkers, when, axis=1, batch_dims=1)
        babble = tf.reduce_sum(tf.cast(talkers, tf.float32) / _FULL_SCALE, axis=0)
        speech_power = tf.reduce_sum(audio**2) / tf.cast(example["samples"], tf.float32)
        gain = amplitude * tf.sqrt(speech_power / tf.reduce_mean(babble**2))
        noisy = audio + gain * babble
        return noisy / tf.maximum(1.0, tf.reduce_max(tf.abs(noisy)))

    return add


def _check_arguments(split: object, image_noise: object, snr_db: object, seed: object) -> None:
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {list(SPLITS)}. Received: split={split!r}.")
    if not _is_number(image_noise) or image_noise < 0:
        raise ValueError(
            "`image_noise` must be a finite number of at least 0, the standard deviation of the "
            f"noise in pixels of 0–255. Received: image_noise={image_noise!r}."
        )
    if snr_db is not None and not (_is_number(snr_db) and abs(snr_db) <= 100):
        raise ValueError(
            "`audio_snr_db` must be a number of decibels in -100..100, or None for no noise. "
            f"Received: audio_snr_db={snr_db!r}."
        )
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not is_integer or not 0 <= seed < 2**31:
        raise ValueError(
            f"`seed` must be an integer of at least 0 and below 2**31. Received: seed={seed!r}."
        )


def _is_number(value: object) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
