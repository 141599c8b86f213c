"""ONNX files, run as a Keras model is."""

import os

import numpy as np

from mm_keras._checks import check_int
from mm_keras.data.decode.common import extra
from mm_keras.exporting.card import read_card
from mm_keras.exporting.exported_model import STRING, ExportedModel, TensorInfo
from mm_keras.exporting.onnx_conversion import OUTPUT

TYPES = {"float": "float32", "double": "float64", "string": STRING}


class ONNXModel(ExportedModel):
    """An ONNX model, run by onnxruntime on CPU, with the `predict` of a `keras.Model`.

    Args:
        path: Of an `.onnx` file.
        threads: Number of threads; `None`: onnxruntime's choice, one for each core.

    Attributes:
        inputs: `{name: TensorInfo}`.
        outputs: `{name: TensorInfo}`.
        card: What `mm.export` wrote about the model, or `None`.

    Raises:
        ImportError: If the extra `onnx` is not installed.
        ValueError: If the file is no ONNX model.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        if threads is not None:
            check_int("threads", threads)
        runtime = extra("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes have no common one that is public
            raise ValueError(
                f"`path` must be an ONNX model. Received: path={os.fspath(path)!r}: {error}"
            ) from error
        self.inputs = _infos(self._session.get_inputs())
        self.outputs = _infos(self._session.get_outputs())
        self._names = [_name(tensor) for tensor in self._session.get_outputs()]
        self.card = read_card(path)

    def _run(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._names, self._session.run(None, batch), strict=True))


def _infos(tensors) -> dict[str, TensorInfo]:
    infos = {}
    for tensor in sorted(tensors, key=_name):
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
        infos[_name(tensor)] = TensorInfo(shape, TYPES.get(kind, kind))
    return infos


def _name(tensor) -> str:
    return tensor.name.removesuffix(OUTPUT)
