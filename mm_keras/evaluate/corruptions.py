"""What goes wrong with each kind of data, in NumPy, by severity from 0 to 1.

Each function takes a batch `(B, …)`, a severity and a generator, and returns a batch of that shape
and type; at severity 0 it is the batch unchanged.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mm_keras.modalities import Audio, Features, Image, Modality, Tabular, Text, Video, Views

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
UNKNOWN = 1  # the id of a token outside the vocabulary


def pixel_noise(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of a standard deviation of up to 128 to pixels of 0–255."""
    noisy = x + rng.normal(scale=128 * severity, size=x.shape)
    return _as(np.clip(noisy, 0, 255), x) if severity else x


def blur(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Blurs height and width, `(…, H, W, C)`, by a Gaussian of up to an eighth of each."""
    del rng
    if not severity:
        return x
    blurred = x.astype("float32")
    for axis in (-3, -2):
        blurred = gaussian_filter1d(blurred, severity * x.shape[axis] / 8, axis=axis)
    return _as(blurred, x)


def crop(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Blackens all but a window, anywhere, of a side of 1 − 0.75 · severity, `(…, H, W, C)`."""
    if not severity:
        return x
    cropped = np.zeros_like(x)
    for index in range(len(x)):
        window = [...]
        for size in x.shape[-3:-1]:
            side = max(1, round(size * (1 - 0.75 * severity)))
            start = rng.integers(size - side + 1)
            window.append(slice(start, start + side))
        window = (*window, slice(None))
        cropped[index][window] = x[index][window]
    return cropped


def sound_noise(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white noise at a signal-to-noise ratio that falls from +20 dB to −20 dB."""
    if not severity:
        return x
    power = np.mean(x.astype("float64") ** 2, axis=-1, keepdims=True)
    noise = rng.normal(size=x.shape) * np.sqrt(power / 10 ** (2 - 4 * severity))
    return _as(x + noise, x)


def sound_dropout(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Silences up to 90 % of the time, in pieces of a fiftieth."""
    pieces = 50
    silent = rng.uniform(size=(len(x), pieces)) < 0.9 * severity
    length = -(-x.shape[-1] // pieces)
    return _as(np.where(np.repeat(silent, length, axis=1)[:, : x.shape[-1]], 0, x), x)


def sound_shift(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Moves the sound in time, either way, by up to half its length; silence moves in."""
    limit = int(severity * x.shape[-1] / 2)
    shifted = np.zeros_like(x)
    for index, by in enumerate(rng.integers(-limit, limit + 1, size=len(x))):
        if by >= 0:
            shifted[index, by:] = x[index, : x.shape[-1] - by]
        else:
            shifted[index, :by] = x[index, -by:]
    return shifted


def typos(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Makes up to 90 % of the tokens unknown, as a misspelt word is."""
    hit = rng.uniform(size=x.shape) < 0.9 * severity
    return np.where(hit & (x != 0), np.asarray(UNKNOWN, x.dtype), x)


def omissions(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Leaves out up to 90 % of the tokens; those behind move up."""
    left = np.zeros_like(x)
    for index, tokens in enumerate(x):
        kept = tokens[(tokens != 0) & (rng.uniform(size=tokens.shape) >= 0.9 * severity)]
        left[index, : len(kept)] = kept
    return left if severity else x


def swaps(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gives up to all of the values of the first axis behind the batch those of another sample."""
    hit = rng.uniform(size=x.shape[:2]) < severity
    other = rng.permuted(np.tile(np.arange(len(x))[:, None], (1, x.shape[1])), axis=0)
    swapped = x[other, np.arange(x.shape[1])]
    return np.where(hit.reshape(hit.shape + (1,) * (x.ndim - 2)), swapped, x)


def feature_noise(x: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of up to twice each feature's standard deviation in the batch."""
    scale = 2 * severity * x.std(axis=0, keepdims=True)
    return _as(x + rng.normal(size=x.shape) * scale, x)


def _as(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    if np.issubdtype(like.dtype, np.integer):
        values = np.rint(values)
    return values.astype(like.dtype)


_PICTURES = {"noise": pixel_noise, "blur": blur, "crop": crop}
CORRUPTIONS: Mapping[type[Modality], Mapping[str, Corruption]] = MappingProxyType(
    {
        Image: _PICTURES,
        Video: _PICTURES,
        Views: _PICTURES,
        Audio: {"noise": sound_noise, "dropout": sound_dropout, "shift": sound_shift},
        Text: {"typos": typos, "omissions": omissions},
        Tabular: {"swaps": swaps},
        Features: {"noise": feature_noise, "swaps": swaps},
    }
)
