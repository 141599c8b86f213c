"""What quantization returns."""

import dataclasses
import os
from collections.abc import Mapping

from mm_keras.exporting import LiteRTModel


@dataclasses.dataclass(frozen=True)
class StayedFloat:
    """Something that still computes, or is stored, in float32.

    Args:
        kind: A LiteRT operator, `"RFFT2D"` say.
        name: The layers' paths that it was made from.
        reason: Why.
    """

    kind: str
    name: str
    reason: str


class QuantizedModel(LiteRTModel):
    """A quantized LiteRT model: `predict(dict)`, `save(path)`, and what stayed float.

    `mm.load` reads the file that `save` wrote, as a `LiteRTModel`.

    Args:
        source: Path of a `.tflite` file, or its bytes.
        mode: How it was quantized.
        stayed_float: What was not, with the reason.
        trained: Paths of layers that quantization-aware training trained with the rounding.
        not_trained: `{path of a layer: why it was not}`; these were quantized after training.
        threads: See `LiteRTModel`.
    """

    def __init__(
        self,
        source: str | os.PathLike | bytes,
        mode: str,
        stayed_float: tuple[StayedFloat, ...],
        trained: tuple[str, ...] = (),
        not_trained: Mapping[str, str] | None = None,
        threads: int | None = None,
    ):
        super().__init__(source, threads)
        self.mode = mode
        self.stayed_float = stayed_float
        self.trained = trained
        self.not_trained = dict(not_trained or {})
