"""Features computed beforehand."""

from typing import ClassVar

from mm_keras._checks import check_int, check_rank
from mm_keras.modalities.base import Modality, spec


@spec
class Features(Modality):
    """Features computed beforehand: one vector, or a sequence of them.

    Args:
        shape: The width W of a vector, or `(N, W)` for N positions.

    Example:

    >>> import mm_keras as mm
    >>> mm.Features(128).input_shape, mm.Features((10, 128)).input_shape
    ((128,), (10, 128))
    """

    shape: int | tuple[int, int]

    units: ClassVar[str] = "features"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.shape, tuple) and len(self.shape) == 2:
            check_rank("shape", self.shape, "NW")
        elif isinstance(self.shape, tuple):
            check_rank("shape", self.shape, "W")
        else:
            check_int("shape", self.shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape if isinstance(self.shape, tuple) else (self.shape,)
