"""Sound as a waveform."""

import dataclasses
import math
from typing import Any, ClassVar

from mm_keras._checks import check_int, check_number
from mm_keras.modalities.base import Pictorial, spec


@spec
class Audio(Pictorial):
    """A waveform, turned inside the model into a log-mel spectrogram for a 2-D backbone.

    Args:
        samples: Length of the waveform in samples.
        sample_rate: In Hz.
        mel_bins: Height of the spectrogram.
        window: Length of a frame in seconds.
        stride: Step between frames in seconds.
        min_freq: Lowest frequency of the mel bins in Hz.
        max_freq: Highest frequency in Hz; `None`: half of `sample_rate`.
        top_db: Dynamic range in dB kept below each sample's loudest point.

    Example:

    >>> import mm_keras as mm
    >>> mm.Audio(8000, 8000).input_shape
    (8000,)
    """

    samples: int
    sample_rate: int
    _: dataclasses.KW_ONLY
    backbone: Any = "SmallCNN"
    mel_bins: int = 64
    window: float = 0.025
    stride: float = 0.010
    min_freq: float = 20.0
    max_freq: float | None = None
    top_db: float = 80.0

    units: ClassVar[str] = "waveform -1 to 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("samples", self.samples)
        check_int("sample_rate", self.sample_rate)
        check_int("mel_bins", self.mel_bins)
        for argument in ("window", "stride", "top_db"):
            check_number(argument, getattr(self, argument), minimum=1e-6)
        nyquist = self.sample_rate / 2
        check_number("min_freq", self.min_freq, below=nyquist)
        if self.max_freq is not None and not self.min_freq < self.max_freq <= nyquist:
            raise ValueError(
                f"`max_freq` must lie above min_freq={self.min_freq} Hz and at most at half of "
                f"sample_rate={self.sample_rate} Hz. Received: max_freq={self.max_freq}."
            )
        if self.samples < self.frame_length:
            raise ValueError(
                f"`samples` must be at least one window of {self.frame_length} samples "
                f"({self.window} s at {self.sample_rate} Hz). Received: samples={self.samples}."
            )

    @property
    def frame_length(self) -> int:
        """Length of a frame in samples."""
        return max(2, round(self.window * self.sample_rate))

    @property
    def frame_step(self) -> int:
        """Step between frames in samples."""
        return max(1, round(self.stride * self.sample_rate))

    @property
    def fft_length(self) -> int:
        """The power of two that holds a frame and resolves the mel bins."""
        return 2 ** math.ceil(math.log2(max(self.frame_length, 4 * self.mel_bins)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.samples,)
