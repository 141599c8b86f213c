"""Sound files: 16-bit WAV by TensorFlow, other sound by soundfile, that of videos by PyAV."""

import io
import math
import os

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice
from mm_keras.data.decode.common import LENGTHS, as_bytes, extra, require
from mm_keras.data.decode.pixels import Decoder
from mm_keras.data.decode.video import SUFFIXES as VIDEO
from mm_keras.modalities import Audio

LIBSNDFILE = (".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".mp3")
SUFFIXES = (".wav", *LIBSNDFILE, *VIDEO)


def audio_decoder(spec: Audio, length: str | None = None, resample: bool = True) -> Decoder:
    """Returns a function from a path (and a seed, unused) to a waveform `(samples,)` float32.

    Channels are averaged. FLAC, Ogg and MP3, and WAV of other than 16 bits, need the extra
    `mm_keras[audio]`; the sound of videos needs `mm_keras[video]`.

    Args:
        spec: Says length and rate.
        length: `None`: another length is an error. `"pad"`: shorter sound is followed by silence.
            `"crop"`: of longer sound the beginning is taken. `"fit"`: both.
        resample: Whether sound of another rate is resampled (polyphase); if not it is an error.
    """
    check_choice("length", length, LENGTHS)

    def rated(sound: np.ndarray, rate: int) -> np.ndarray:
        if not resample:
            raise ValueError(
                f"the spec wants {spec.sample_rate} Hz, the sound has {rate} Hz; "
                "resample=True would convert it"
            )
        return _resampled(sound, int(rate), spec.sample_rate)

    def decode(path: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        data = tf.io.read_file(path)
        sound, rate = tf.cond(
            is_wav16(data),
            lambda: decode_wav16(data),
            lambda: tuple(tf.numpy_function(decode_other, [data, path], (tf.float32, tf.int32))),
        )
        sound, rate = tf.ensure_shape(sound, (None,)), tf.ensure_shape(rate, ())
        with require(tf.size(sound) > 0, "no sound in it"):
            sound = tf.identity(sound)
        sound = tf.cond(
            tf.equal(rate, spec.sample_rate),
            lambda: sound,
            lambda: tf.numpy_function(rated, [sound, rate], tf.float32),
        )
        return _fitted(tf.ensure_shape(sound, (None,)), spec.samples, length)

    return decode


def is_wav16(data: tf.Tensor) -> tf.Tensor:
    """Returns whether the bytes begin as a plain WAV file of 16-bit samples does."""
    # \C is any byte: RIFF, a size, WAVE and fmt, a size, PCM, 12 bytes, 16 bits a sample.
    plain = r"RIFF\C{4}WAVEfmt \C{4}\x01\x00\C{12}\x10\x00"
    return tf.strings.regex_full_match(tf.strings.substr(data, 0, 36), plain)


def decode_wav16(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean of the channels and the rate of a plain WAV file of 16-bit samples."""
    sound, rate = tf.audio.decode_wav(data)
    return tf.reduce_mean(sound, axis=-1), rate


def decode_other(data: bytes, path: bytes) -> tuple[np.ndarray, np.int32]:
    """Returns the mean of the channels and the rate of any other sound; a `numpy_function`."""
    data = as_bytes(data)
    if os.fsdecode(as_bytes(path)).lower().endswith(VIDEO):
        return _decode_video_sound(data)
    order = {b"RIFF": "little", b"FORM": "big"}.get(data[:4])  # WAV and AIFF say how long they are
    if order and len(data) < (size := 8 + int.from_bytes(data[4:8], order)):
        raise ValueError(f"truncated: {len(data)} of {size} bytes")
    soundfile = extra("soundfile", "audio")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            sound = file.read(dtype="float32", always_2d=True)
            if len(sound) != file.frames:
                raise ValueError(f"truncated: {len(sound)} of {file.frames} samples")
            return sound.mean(axis=1, dtype="float32"), np.int32(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"no sound that libsndfile reads: {error.error_string}") from error


def _decode_video_sound(data: bytes) -> tuple[np.ndarray, np.int32]:
    av = extra("av", "video")
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise ValueError("no sound track")
            stream = container.streams.audio[0]
            rate = stream.rate
            mono = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            parts = [
                part.to_ndarray().reshape(-1)
                for frame in [*container.decode(stream), None]  # None: what is left in it
                for part in mono.resample(frame)
            ]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"no video that FFmpeg reads: {error}") from error
    return np.concatenate([np.zeros(0, "float32"), *parts]), np.int32(rate)


def _resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, wanted)
    return resample_poly(sound, wanted // divisor, rate // divisor).astype("float32")


def _fitted(sound: tf.Tensor, samples: int, length: str | None) -> tf.Tensor:
    found = tf.size(sound)
    fits = {
        None: tf.equal(found, samples),
        "pad": found <= samples,
        "crop": found >= samples,
        "fit": tf.constant(True),
    }[length]
    with require(
        fits,
        f"the spec wants {samples} samples, the sound has ",
        found,
        "; length='fit' would cut or pad it",
    ):
        sound = tf.identity(sound)[:samples]
    sound = tf.pad(sound, [[0, samples - tf.size(sound)]])
    return tf.ensure_shape(sound, (samples,))
