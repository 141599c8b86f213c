"""Video files, by PyAV."""

import os

import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice
from mm_keras.data.decode.common import LENGTHS, as_bytes, extra
from mm_keras.data.decode.pixels import RESIZES, Decoder, fit_pixels
from mm_keras.modalities import Video

SAMPLINGS = ("uniform", "random")
SUFFIXES = (".mp4", ".m4v", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm", ".m4a")


def video_decoder(
    spec: Video, resize: bool | str = False, sampling: str = "uniform", length: str | None = None
) -> Decoder:
    """Returns a function from a path and a seed to frames `(T, H, W, C)` uint8.

    Needs the extra `mm_keras[video]`.

    Args:
        spec: Says number and shape of the frames.
        resize: As in `fit_pixels`.
        sampling: The video is cut into T equal parts; `"uniform"` takes the frame in the middle of
            each, `"random"` any frame of each (Wang et al., Temporal Segment Networks, 2016).
        length: Of a video with fewer than T frames: `"pad"` and `"fit"` repeat frames; with `None`
            and `"crop"` it is an error.
    """
    height, width, channels = spec.shape
    check_choice("resize", resize, RESIZES)
    check_choice("sampling", sampling, SAMPLINGS)
    check_choice("length", length, LENGTHS)
    if channels not in (1, 3):
        raise ValueError(
            f"`shape` of a video that is read from files must have 1 or 3 channels. "
            f"Received: shape={spec.shape}."
        )

    def frames(path: bytes, seed: np.int64) -> np.ndarray:
        chosen = np.random.default_rng(int(seed)) if sampling == "random" else None
        repeat = length in ("pad", "fit")
        return _decode(os.fsdecode(as_bytes(path)), spec.frames, channels, chosen, repeat)

    def decode(path: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(frames, [path, seed], tf.uint8)
        pixels = tf.ensure_shape(pixels, (spec.frames, None, None, channels))
        return fit_pixels(pixels, height, width, resize)

    return decode


def _decode(
    path: str, count: int, channels: int, random: np.random.Generator | None, repeat: bool
) -> np.ndarray:
    av = extra("av", "video")
    try:
        total = frames_in(av, path)
        if total < count and not repeat:
            raise ValueError(
                f"the spec wants {count} frames, the video has {total}; length='pad' would repeat "
                "some"
            )
        wanted = frame_numbers(total, count, random)
        kept, read = {}, 0
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # samples are decoded side by side already
            for number, frame in enumerate(container.decode(stream)):
                read = number + 1
                if number in wanted:
                    kept[number] = frame.to_ndarray(format="rgb24" if channels == 3 else "gray")
                if number >= wanted[-1]:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"no video that FFmpeg reads: {error}") from error
    if wanted[-1] not in kept:
        raise ValueError(f"truncated: {read} of {total} frames can be read")
    pixels = np.stack([kept[number] for number in wanted])
    return pixels if channels == 3 else pixels[..., None]


def frame_numbers(total: int, count: int, random: np.random.Generator | None = None) -> np.ndarray:
    """Returns which of `total` frames are taken: one of each of `count` equal parts, in order."""
    inside = np.full(count, 0.5) if random is None else random.random(count)
    return np.minimum(((np.arange(count) + inside) * total / count).astype(int), total - 1)


def frames_in(av, path: str) -> int:
    """Returns the number of frames: what the header says, or that of the packets."""
    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("no pictures in it")
        stream = container.streams.video[0]
        total = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
    if not total:
        raise ValueError("no frames in it")
    return total
