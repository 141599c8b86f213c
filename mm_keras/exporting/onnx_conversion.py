"""A model to an ONNX file, by tf2onnx."""

import contextlib
import functools
import logging
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from mm_keras.data.decode.common import extra
from mm_keras.exporting.serving import Serving
from mm_keras.exporting.unsupported import UnsupportedError

OPSET = 18
OUTPUT = ":output"  # ends the name of an output that has the name of an input


def write_onnx(serving: Serving, path: pathlib.Path) -> None:
    """Writes an `.onnx` file whose inputs and outputs have the names of the model's.

    An ONNX graph has one space of names: an output that has the name of an input, as a student of
    `build_dml` does, is called `<name>:output` there; `ONNXModel` calls it by its name.

    Raises:
        ImportError: If the extra `onnx` is not installed.
        UnsupportedError: If ONNX lacks an operation.
    """
    onnx, tf2onnx = extra("onnx", "onnx"), extra("tf2onnx", "onnx")

    def serve(inputs):
        outputs = serving(inputs).items()
        return {name + OUTPUT if name in serving.inputs else name: x for name, x in outputs}

    function = tf.function(serve, input_signature=[serving.inputs])
    with _quiet("tf2onnx", logging.CRITICAL), _quiet("tensorflow", logging.ERROR):
        # It goes on after errors, which are raised below.
        proto, _ = tf2onnx.convert.from_function(
            function,
            [serving.inputs],
            opset=OPSET,
            custom_op_handlers={
                "Erfc": (_erfc, ["Erf"]),
                "RFFT": (_rfft, ["DFT"]),
                "Real": (functools.partial(_part, index=0), ["Gather"]),
                "Imag": (functools.partial(_part, index=1), ["Gather"]),
                "SelectV2": (_where, ["Where"]),
            },
        )
    unknown = {
        node.op_type: node.name
        for node in _nodes(proto.graph)
        if not node.domain and not onnx.defs.has(node.op_type)
    }
    if unknown:
        operations = {f"tf.{operation}" for operation in unknown}
        raise UnsupportedError("onnx", operations, set(unknown.values()))
    onnx.checker.check_model(proto)
    onnx.save_model(proto, path)


@contextlib.contextmanager
def _quiet(name: str, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    earlier = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(earlier)


def _nodes(graph):
    """Yields the nodes of a graph and of the graphs within them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _where(context, node, name, args) -> None:
    """Leaves the node as it is, a `Where`; tf2onnx multiplies by 0, which lets NaN through."""


def _erfc(context, node, name, args) -> None:
    """Makes 1 - erf(x), for GELU."""
    source, outputs, dtype = node.input[0], node.output, context.get_dtype(node.output[0])
    shape = context.get_shape(node.output[0])
    one = np.array(1, extra("tf2onnx", "onnx").utils.ONNX_TO_NUMPY_DTYPE[dtype])
    one = context.make_const(f"{name}_one", one).output[0]
    context.remove_node(node.name)
    erf = context.make_node("Erf", [source]).output[0]
    context.make_node("Sub", [one, erf], outputs=outputs, name=name, shapes=[shape], dtypes=[dtype])


def _rfft(context, node, name, args) -> None:
    """Makes a DFT of a real Fourier transform, which tf2onnx knows only where magnitudes follow."""
    length = int(np.ravel(node.inputs[1].get_tensor_value())[0])
    shape = context.get_shape(node.output[0])
    last = context.make_const(f"{name}_last", np.array([-1], "int64")).output[0]
    length = context.make_const(f"{name}_length", np.array(length, "int64")).output[0]
    real = context.make_node("Unsqueeze", [node.input[0], last]).output[0]
    outputs = node.output
    context.remove_node(node.name)
    context.make_node(
        "DFT",
        [real, length],
        attr={"axis": len(shape) - 1, "onesided": 1},
        outputs=outputs,
        name=name,
        shapes=[[*shape, 2]],
        dtypes=[_float()],
    )


def _part(context, node, name, args, index: int) -> None:
    """Takes the real or the imaginary part of what `_rfft` made."""
    which = context.make_const(f"{name}_index", np.array(index, "int64")).output[0]
    shape, source, outputs = context.get_shape(node.output[0]), node.input[0], node.output
    context.remove_node(node.name)
    context.make_node(
        "Gather",
        [source, which],
        attr={"axis": -1},
        outputs=outputs,
        name=name,
        shapes=[shape],
        dtypes=[_float()],
    )


def _float() -> int:
    return extra("onnx", "onnx").TensorProto.FLOAT
