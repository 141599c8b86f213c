"""Frames over time."""

import dataclasses
from typing import ClassVar

from mm_keras._checks import check_choice, check_int, check_rank
from mm_keras.modalities.base import Pictorial, spec


@spec
class Video(Pictorial):
    """Frames of a video; sound is a modality of its own.

    All frames go through the backbone in one call, folded into the batch.

    Args:
        frames: Number T of frames.
        shape: `(H, W, C)` of a frame in pixels 0–255.
        temporal: `"mean"` over time, `"gru"`, `"attention"` (a Transformer block), or `None`: the
            frames' features as they are.

    Example:

    >>> import mm_keras as mm
    >>> mm.Video(16, (32, 32, 1), backbone="SmallCNN", temporal="gru").input_shape
    (16, 32, 32, 1)
    """

    frames: int
    shape: tuple[int, int, int]
    _: dataclasses.KW_ONLY
    temporal: str | None = "mean"

    units: ClassVar[str] = "pixels 0-255"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("frames", self.frames)
        check_rank("shape", self.shape, "HWC")
        check_choice("temporal", self.temporal, [None, "mean", "gru", "attention"])

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.frames, *self.shape)
