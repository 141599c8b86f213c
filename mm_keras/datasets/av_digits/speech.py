"""The spoken digits shipped with the package: the archive `speech.npz` and its 8-bit code."""

import dataclasses
import functools
import importlib.resources

import numpy as np

SAMPLE_RATE = 8000  # Hz
MAX_SAMPLES = 6400  # 0.8 s: every waveform is zero-padded to this length
_MU = 255.0


def mulaw_encode(waveform: np.ndarray) -> np.ndarray:
    """Compresses a waveform to 8 bits a sample with the mu-law curve (mu = 255).

    The curve is that of G.711; the codes are not. Code 128 is exactly 0, so silence stays silence.

    Args:
        waveform: Real array of any shape, in -1..1.

    Returns:
        uint8 array of the same shape, with values 1..255.

    Raises:
        ValueError: If a value is outside -1..1 or not finite.

    Reference:
        ITU-T Recommendation G.711, Pulse code modulation of voice frequencies, 1988.
    """
    waveform = np.asarray(waveform, np.float64)
    if not np.all(np.abs(waveform) <= 1.0):
        raise ValueError(
            "`waveform` must be within -1..1. "
            f"Received: waveform=values from {np.min(waveform)} to {np.max(waveform)}."
        )
    curve = np.sign(waveform) * np.log1p(_MU * np.abs(waveform)) / np.log1p(_MU)
    return (np.round(curve * 127.0) + 128.0).astype(np.uint8)


def mulaw_decode(codes: np.ndarray) -> np.ndarray:
    """Expands the codes of `mulaw_encode` to 16-bit samples.

    Args:
        codes: uint8 array of any shape.

    Returns:
        int16 array of the same shape; divide by 32768 for a waveform in -1..1.
    """
    curve = np.arange(-128, 128) / 127.0
    table = np.sign(curve) * np.expm1(np.abs(curve) * np.log1p(_MU)) / _MU
    return np.clip(np.round(table * 32767.0), -32767, 32767).astype(np.int16)[codes]


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
    """Every spoken digit, clip by clip; the clips of one voice are contiguous.

    Attributes:
        audio: int16 (clips, 6400) samples at 8 kHz, zero after the end of the clip.
        samples: int64 (clips,) length of each clip in samples.
        digit: int64 (clips,) the digit spoken, 0..9.
        voice: int64 (clips,) position of the clip's voice in `voices`.
        voices: names of the voices as espeak-ng takes them, such as "en-us+f1".
        speed: int64 (clips,) rate of speech asked of espeak-ng, words per minute.
        pitch: int64 (clips,) pitch asked of espeak-ng, 0..99.
        generator: the version line of the espeak-ng that spoke.
    """

    audio: np.ndarray
    samples: np.ndarray
    digit: np.ndarray
    voice: np.ndarray
    voices: tuple[str, ...]
    speed: np.ndarray
    pitch: np.ndarray
    generator: str


@functools.lru_cache(maxsize=1)
def read_speech() -> Speech:
    """Reads and decodes the archive; the result is shared, so its arrays are read-only."""
    package = importlib.resources.files("mm_keras.datasets.av_digits")
    with package.joinpath("speech.npz").open("rb") as file, np.load(file) as archive:
        samples = archive["samples"].astype(np.int64)
        ends = np.cumsum(samples)
        decoded = mulaw_decode(archive["codes"])
        audio = np.zeros((len(samples), MAX_SAMPLES), np.int16)
        for row, end, length in zip(audio, ends, samples, strict=True):
            row[:length] = decoded[end - length : end]
        columns = {k: archive[k].astype(np.int64) for k in ("digit", "voice", "speed", "pitch")}
        voices = tuple(str(name) for name in archive["voices"])
        generator = str(archive["generator"])
    for array in (audio, samples, *columns.values()):
        array.flags.writeable = False
    return Speech(audio=audio, samples=samples, voices=voices, generator=generator, **columns)
