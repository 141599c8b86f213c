"""Several pictures of one object."""

import dataclasses
from typing import ClassVar

import keras

from mm_keras._checks import check_bool, check_int, check_rank
from mm_keras.modalities.base import Pictorial, spec


@spec
class Views(Pictorial):
    """Several pictures of one object.

    Args:
        count: Number V of views.
        shape: `(H, W, C)` of a view in pixels 0–255.
        shared: Whether one backbone serves all views (`True`) or each has its own.
        optional_views: Whether samples may lack single views. If so the presence input
            `<name>_present` is `(B, V)` bool, one for each view; a sample without any view lacks
            the modality, whether or not that is `optional`. Absent views carry zeros and have no
            effect.

    Example:

    >>> import mm_keras as mm
    >>> mm.Views(4, (32, 32, 1), backbone="SmallCNN").input_shape
    (4, 32, 32, 1)
    """

    count: int
    shape: tuple[int, int, int]
    _: dataclasses.KW_ONLY
    shared: bool = True
    optional_views: bool = False

    units: ClassVar[str] = "pixels 0-255"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("count", self.count)
        check_rank("shape", self.shape, "HWC")
        check_bool("shared", self.shared)
        check_bool("optional_views", self.optional_views)
        if not self.shared and isinstance(self.backbone, keras.Model):
            raise ValueError(
                "`shared` must be True for a backbone that is a keras.Model: one model has one set "
                "of weights. Name a backbone, or pass one modality for each view. "
                f"Received: shared={self.shared}, backbone={self.backbone.name!r}."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.count, *self.shape)

    @property
    def presence_shape(self) -> tuple[int, ...] | None:
        return (self.count,) if self.optional_views else super().presence_shape

    def required(self) -> "Views":
        return dataclasses.replace(self, optional=False, optional_views=False)
