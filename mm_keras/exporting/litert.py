"""LiteRT files (`.tflite`), run as a Keras model is."""

import os
import pathlib
import threading
from typing import Any

import numpy as np

from mm_keras._checks import check_int
from mm_keras._files import check_writable, written_whole
from mm_keras.exporting.card import card_in
from mm_keras.exporting.exported_model import STRING, ExportedModel, TensorInfo

SUFFIX = ".tflite"
SIGNATURE = "serving_default"


class LiteRTModel(ExportedModel):
    """A LiteRT model with named inputs and outputs and the `predict` of a `keras.Model`.

    Quantized inputs and outputs are given and returned as the numbers that they stand for: pixels
    0–255 for a file with uint8 pixels, waveforms −1…1 for one with int8. One object serves one
    thread at a time: others wait.

    Args:
        source: Path of a `.tflite` file, or its bytes.
        threads: Number of threads on CPU; `None`: LiteRT's choice, which is one.

    Attributes:
        inputs: `{name: TensorInfo}`.
        outputs: `{name: TensorInfo}`.
        content: The bytes of the file.
        card: What `mm.export` wrote about the model, or `None`.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no LiteRT model, or has no signature with the names.

    Example:

    >>> import numpy as np
    >>> import tempfile
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> path = tempfile.mkdtemp() + "/model.tflite"
    >>> model.export(path, format="litert", verbose=False)
    >>> small = mm.exporting.LiteRTModel(path)
    >>> small.predict({"a": np.ones((5, 4)), "b": np.zeros((5, 3))}, batch_size=2)["label"].shape
    (5, 2)
    """

    def __init__(self, source: str | os.PathLike | bytes, threads: int | None = None):
        from ai_edge_litert.interpreter import Interpreter

        if threads is not None:
            check_int("threads", threads)
        self.content = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
        shown = f"{len(source)} bytes" if isinstance(source, bytes) else source
        try:
            interpreter = Interpreter(model_content=self.content, num_threads=threads)
        except ValueError as error:
            raise ValueError(
                f"`source` must be a LiteRT model (.tflite). Received: source={shown}: {error}"
            ) from error
        signatures = interpreter.get_signature_list()
        if SIGNATURE not in signatures and len(signatures) != 1:
            raise ValueError(
                f"`source` must be a LiteRT model with the signature {SIGNATURE!r}, which names "
                "its inputs: convert a Keras model or a SavedModel. "
                f"Received: source={shown} with the signatures {sorted(signatures)}."
            )
        name = SIGNATURE if SIGNATURE in signatures else next(iter(signatures))
        self._runner = interpreter.get_signature_runner(name)
        self._one_at_a_time = threading.Lock()
        self.inputs = _infos(self._runner.get_input_details())
        self.outputs = _infos(self._runner.get_output_details())
        self.card = card_in(self.content)

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the file; what stood there is replaced only when the new one is whole.

        Args:
            path: Must end in `.tflite`.
        """
        check_suffix(path)
        with written_whole(path) as unfinished:
            unfinished.write_bytes(self.content)
        return pathlib.Path(path)

    def _run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._one_at_a_time:
            return self._runner(**batch)


def check_suffix(path: str | os.PathLike) -> None:
    """Raises unless `path` names a `.tflite` file that can be written."""
    if pathlib.Path(path).suffix != SUFFIX:
        raise ValueError(f"`path` must end in {SUFFIX!r}. Received: path={os.fspath(path)!r}.")
    check_writable(path)


def _infos(details: dict[str, dict[str, Any]]) -> dict[str, TensorInfo]:
    infos = {}
    for name, detail in details.items():
        shape = tuple(None if size == -1 else int(size) for size in detail["shape_signature"])
        dtype = np.dtype(detail["dtype"])
        scale, zero_point = detail["quantization"]
        infos[name] = TensorInfo(
            shape,
            STRING if dtype.kind in "OSU" else dtype.name,
            float(scale) if dtype.kind in "iu" else 0.0,
            int(zero_point),
        )
    return dict(sorted(infos.items()))
