"""Probabilities in float32 at the end of a LiteRT file that computes in 8 bits."""

import copy

import numpy as np

from mm_keras.compress.flatbuffer import FLOAT, WEIGHTED, Operator, kind_of, operators, schema

INT8 = schema.TensorType.INT8
KINDS = ("LOGISTIC", "LOG_SOFTMAX", "SOFTMAX")
CHANGES = ("DEQUANTIZE", "QUANTIZE")  # of a type; from float32 to float32 they do nothing


def probability_operators(model: schema.ModelT) -> list[Operator]:
    """Returns the softmaxes and sigmoids that outputs come from, and what comes after them.

    Those of gates and of attention are not among them: an operator with weights comes after them on
    the way to an output.
    """
    makers = {id(operator.tensor): operator for operator in operators(model)}
    leads: dict[int, bool] = {}

    def leads_on(tensor: schema.TensorT) -> bool:
        """Whether a softmax or sigmoid makes a tensor, or is behind it."""
        operator = makers.get(id(tensor))
        if operator is None or operator.kind in WEIGHTED:
            return False
        if id(tensor) not in leads:
            behind = [leads_on(given) for given in operator.inputs]
            leads[id(tensor)] = operator.kind in KINDS or any(behind)
        return leads[id(tensor)]

    for graph in model.subgraphs:
        for index in graph.outputs:
            leads_on(graph.tensors[int(index)])
    return [makers[key] for key, leading in leads.items() if leading]


def make_float(model: schema.ModelT) -> None:
    """Computes in float32 what `probability_operators` finds in 8 bits.

    The converter can be told to leave operators out, but still rounds after every softmax, whose
    range it knows; and it follows the rounding of quantization-aware training through softmaxes.
    """
    found = {id(operator.tensor) for operator in probability_operators(model)}
    for number, graph in enumerate(model.subgraphs):
        inside = {
            _output(operator): operator
            for operator in graph.operators
            if _output(operator) >= 0 and id(graph.tensors[_output(operator)]) in found
        }
        rounded = [index for index in inside if graph.tensors[index].type == INT8]
        others = [o for o in graph.operators if inside.get(_output(o)) is not o]
        if not rounded or set(rounded) & {index for o in others for index in _inputs(o)}:
            continue  # nothing to do, or an operator in 8 bits needs it so
        operators_now = []
        for operator in graph.operators:
            if inside.get(_output(operator)) is operator:
                operators_now += _with_float_inputs(model, graph, operator, set(inside))
            operators_now.append(operator)
        for index in rounded:
            graph.tensors[index].type, graph.tensors[index].quantization = FLOAT, None
        same = {
            index: _inputs(operator)[0]
            for index, operator in inside.items()
            if kind_of(model, operator) in CHANGES
        }

        def origin(index: int, same: dict[int, int] = same) -> int:
            while index in same:
                index = same[index]
            return index

        graph.operators = [o for o in operators_now if _output(o) not in same]
        for operator in graph.operators:
            operator.inputs = [origin(index) for index in _inputs(operator)]
        graph.outputs = [origin(int(index)) for index in graph.outputs]
        for signature in model.signatureDefs or ():
            for output in signature.outputs if signature.subgraphIndex == number else ():
                output.tensorIndex = origin(output.tensorIndex)


def _with_float_inputs(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, inside: set[int]
) -> list[schema.OperatorT]:
    """Gives an operator float32 in the place of int8 from outside; returns what makes it so."""
    needed, inputs = [], _inputs(operator)
    for place, index in enumerate(inputs):
        if index < 0 or index in inside or graph.tensors[index].type != INT8:
            continue
        old = graph.tensors[index]
        new = copy.copy(old)
        new.type, new.quantization, new.buffer = FLOAT, None, 0
        data = model.buffers[old.buffer].data
        if data is None:
            change = schema.OperatorT()
            change.opcodeIndex = _opcode_of(model, "DEQUANTIZE")
            change.inputs, change.outputs = [index], [len(graph.tensors)]
            needed.append(change)
        else:
            scale, zero = old.quantization.scale[0], old.quantization.zeroPoint[0]
            values = scale * (np.asarray(data).view("int8") - np.float32(zero))
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = values.astype("float32").view("uint8")
            new.buffer = len(model.buffers) - 1
        inputs[place] = len(graph.tensors)
        graph.tensors.append(new)
    operator.inputs = inputs
    return needed


def _opcode_of(model: schema.ModelT, kind: str) -> int:
    """Returns the number of the code of a kind of operators that a file has."""
    return next(
        operator.opcodeIndex
        for graph in model.subgraphs
        for operator in graph.operators
        if kind_of(model, operator) == kind
    )


def _inputs(operator: schema.OperatorT) -> list[int]:
    return [] if operator.inputs is None else [int(index) for index in operator.inputs]


def _output(operator: schema.OperatorT) -> int:
    """Returns the number of an operator's first tensor; −1 where it has none."""
    has = operator.outputs is not None and len(operator.outputs) > 0
    return int(operator.outputs[0]) if has else -1
