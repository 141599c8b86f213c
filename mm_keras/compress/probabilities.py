"""Probabilities in float32 at the end of a LiteRT file that computes in 8 bits."""

from mm_keras.compress.flatbuffer import FLOAT, WEIGHTED, Operator, kind_of, operators, schema

KINDS = ("LOGISTIC", "LOG_SOFTMAX", "SOFTMAX")


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
    """Takes softmaxes and sigmoids of outputs in 8 bits after the change to float32, not before it.

    Those come from quantization-aware training: the converter follows its rounding of the logits
    through them, whatever it is told to leave out.
    """
    tensors = {id(operator.tensor) for operator in probability_operators(model)}
    for graph in model.subgraphs:
        readers: dict[int, list[schema.OperatorT]] = {}
        for operator in graph.operators:
            for index in () if operator.inputs is None else operator.inputs:
                readers.setdefault(int(index), []).append(operator)
        for operator in list(graph.operators):
            middle = _output(operator)
            between, following = graph.tensors[middle], readers.get(middle, [])
            if (
                kind_of(model, operator) not in KINDS
                or id(between) not in tensors
                or between.type == FLOAT
                or [kind_of(model, reader) for reader in following] != ["DEQUANTIZE"]
            ):
                continue
            (change,) = following
            between.type, between.quantization = FLOAT, None
            change.inputs, operator.inputs = operator.inputs, [middle]
            operator.outputs, change.outputs = change.outputs, [middle]
            graph.operators.remove(change)
            graph.operators.insert(graph.operators.index(operator), change)


def drop_round_trips(model: schema.ModelT) -> None:
    """Drops pairs of operators that turn floats to integers and back again.

    LiteRT puts them after every softmax, whose range is known, also between two operators that
    stay float.
    """
    for graph in model.subgraphs:
        outputs = {int(index) for index in graph.outputs}
        quantized, origin = {}, {}
        for operator in graph.operators:
            kind = kind_of(model, operator)
            if kind not in ("QUANTIZE", "DEQUANTIZE"):
                continue
            before, after = int(operator.inputs[0]), int(operator.outputs[0])
            if kind == "QUANTIZE" and graph.tensors[before].type == FLOAT:
                quantized[after] = before
            elif before in quantized and after not in outputs:
                origin[after] = quantized[before]
        if not origin:
            continue
        kept = [o for o in graph.operators if _output(o) not in origin]
        for operator in kept:
            if operator.inputs is not None:
                operator.inputs = [origin.get(int(index), int(index)) for index in operator.inputs]
        read = {int(i) for o in kept if o.inputs is not None for i in o.inputs} | outputs
        graph.operators = [o for o in kept if _output(o) in read or _output(o) not in quantized]


def _output(operator: schema.OperatorT) -> int:
    """Returns the number of an operator's first tensor; −1 where it has none."""
    return (
        int(operator.outputs[0]) if operator.outputs is not None and len(operator.outputs) else -1
    )
