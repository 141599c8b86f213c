"""LiteRT files as objects: which operators they have, on what types, and small changes to them."""

import dataclasses
import functools
import re
from collections.abc import Iterable

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT = schema.TensorType.FLOAT32
# Operators with weights, which is what the size of a model is made of.
WEIGHTED = (
    *("BATCH_MATMUL", "CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D"),
    *("EMBEDDING_LOOKUP", "FULLY_CONNECTED", "GATHER", "TRANSPOSE_CONV"),
    *("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
)
INFINITE = 1e30  # infinity is measured as the greatest float32
STORED = (*WEIGHTED, "DEQUANTIZE")  # float16 weights are turned to float32 first
NO_ARITHMETIC = ("CAST", "DEQUANTIZE", "QUANTIZE", "SHAPE")


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator of a LiteRT file.

    Args:
        kind: `"CONV_2D"`, say.
        name: Of its first output: the paths of the layers that it was made from, joined by `;`.
        tensor: The tensor of its first output.
        inputs: The tensors of its inputs.
    """

    kind: str
    name: str
    tensor: schema.TensorT
    inputs: tuple[schema.TensorT, ...]

    def has_float_weights(self, model: schema.ModelT) -> bool:
        """Whether constants of more than one axis are stored in float32."""
        return any(
            tensor.type == FLOAT and len(tensor.shape) > 1
            for tensor in self.inputs
            if model.buffers[tensor.buffer].data is not None
        )

    @property
    def is_float(self) -> bool:
        """Whether it computes in float32, and does not only change types."""
        if self.kind in NO_ARITHMETIC:
            return False
        return FLOAT in (self.tensor.type, *(tensor.type for tensor in self.inputs))


def read(content: bytes) -> schema.ModelT:
    """Returns a file's bytes as an object."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))


def written(model: schema.ModelT) -> bytes:
    """Returns an object as the bytes of a file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operators(model: schema.ModelT) -> list[Operator]:
    """Returns the operators that have an output, named as Keras named their layers."""
    output_names = {
        (signature.subgraphIndex, output.tensorIndex): _text(output.name)
        for signature in model.signatureDefs or ()
        for output in signature.outputs
    }
    found = []
    for number, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            if operator.outputs is None or not len(operator.outputs):
                continue
            first = int(operator.outputs[0])
            tensor = graph.tensors[first]
            inputs = () if operator.inputs is None else operator.inputs
            found.append(
                Operator(
                    kind_of(model, operator),
                    output_names.get((number, first), _text(tensor.name)),
                    tensor,
                    tuple(graph.tensors[int(index)] for index in inputs if index >= 0),
                )
            )
    return found


def kind_of(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Returns the kind of an operator of a file, `"CONV_2D"`, say."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _kinds()[max(code.builtinCode, code.deprecatedBuiltinCode)]


def layers_in(name: str, layers: Iterable[str]) -> list[str]:
    """Returns those layers that an operator's name says it was made from.

    TensorFlow numbers the scopes of layers that are called again: `conv_1` may stand for `conv`.
    """
    parts = set(re.split(r"[/;:]", name))
    parts |= {re.sub(r"_\d+$", "", part) for part in parts}
    return [layer for layer in layers if layer in parts]


def nodes_out_of_range(model: schema.ModelT) -> set[str]:
    """Returns the tensors of a calibrated file made by, or from, numbers without a finite range."""
    found = set()
    for operator in operators(model):
        if any(not _finite(tensor) for tensor in (operator.tensor, *operator.inputs)):
            found.add(_text(operator.tensor.name))
    return found


def nodes_before(model: schema.ModelT, kinds: Iterable[str], through: Iterable[str]) -> set[str]:
    """Returns the tensors made by operators of some kinds, and by those that feed them.

    Args:
        model: A calibrated file.
        kinds: Of the operators.
        through: Kinds of those that feed them, directly or through each other. An addition of two
            tensors, such as that of a residual block, is not followed.
    """
    makers = {id(operator.tensor): operator for operator in operators(model)}
    waiting = [operator for operator in makers.values() if operator.kind in kinds]
    found: dict[int, str] = {}
    while waiting:
        operator = waiting.pop()
        if id(operator.tensor) in found:
            continue
        found[id(operator.tensor)] = _text(operator.tensor.name)
        feeding = [makers[id(t)] for t in operator.inputs if id(t) in makers]
        waiting += [
            maker
            for maker in feeding
            if maker.kind in through
            and not (maker.kind == "ADD" and all(id(t) in makers for t in maker.inputs))
        ]
    return set(found.values())


def restore_weights(model: schema.ModelT, original: schema.ModelT, names: set[str]) -> None:
    """Puts float32 weights back into named operators of a file with int8 weights.

    Args:
        model: Is changed.
        original: The same graph in float32.
        names: Of operators.
    """
    before = {operator.name: operator for operator in operators(original)}
    for operator in operators(model):
        if operator.name not in names or operator.name not in before:
            continue
        pairs = zip(operator.inputs, before[operator.name].inputs, strict=True)
        for tensor, old in pairs:
            data = original.buffers[old.buffer].data
            if old.type == FLOAT != tensor.type and data is not None:
                tensor.type, tensor.quantization = FLOAT, None
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = np.array(data)
                tensor.buffer = len(model.buffers) - 1


def drop_names(model: schema.ModelT) -> None:
    """Drops the names of tensors, which nothing needs: signatures have their own."""
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None


def weights_of(model: schema.ModelT, biases: bool = False) -> list[np.ndarray]:
    """Returns the constant weights of a file's weighted operators, unscaled, each once.

    What is quantized is given in integers, 0 for 0.

    Args:
        model: The file.
        biases: Whether vectors are counted, too.
    """
    found = {}
    for operator in operators(model):
        for tensor in operator.inputs if operator.kind in STORED else ():
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or len(tensor.shape) < (1 if biases else 2):
                continue
            if tensor.type in _NUMPY:
                values = np.asarray(data).view(_NUMPY[tensor.type])
                found[tensor.buffer] = values - _zero_point(tensor)
    return list(found.values())


_NUMPY = {
    FLOAT: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
}


@functools.cache
def _kinds() -> dict[int, str]:
    return {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}


def _zero_point(tensor: schema.TensorT) -> np.integer:
    """Returns the integer that stands for 0; kernels have 0 for each channel, tables may not."""
    points = None if tensor.quantization is None else tensor.quantization.zeroPoint
    return np.int16(points[0] if points is not None and len(points) == 1 else 0)


def _finite(tensor: schema.TensorT) -> bool:
    quantization = tensor.quantization
    if quantization is None or quantization.min is None or quantization.max is None:
        return True
    limits = np.abs([*quantization.min, *quantization.max])
    return bool((limits < INFINITE).all())  # not of NaN either


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
