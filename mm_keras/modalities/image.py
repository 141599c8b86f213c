"""Still images."""

from typing import ClassVar

from mm_keras._checks import check_rank
from mm_keras.modalities.base import Pictorial, spec


@spec
class Image(Pictorial):
    """A still image, or a spectrogram computed beforehand, as pixels 0–255.

    One channel is replicated to three for backbones of `keras.applications`; `"SmallCNN"` takes
    any number of channels. The backbone's own preprocessing is part of the model.

    Args:
        shape: `(H, W, C)` in pixels; `C` is 1 or 3 for `keras.applications`.

    Example:

    >>> import mm_keras as mm
    >>> mm.Image((96, 96, 3), weights=None).input_shape
    (96, 96, 3)
    """

    shape: tuple[int, int, int]

    units: ClassVar[str] = "pixels 0-255"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rank("shape", self.shape, "HWC")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape
