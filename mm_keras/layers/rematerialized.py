"""A model that computes its activations twice rather than keep them."""

import inspect
import itertools
import math
from collections.abc import Sequence

import keras
from keras import tree

from mm_keras._graphs import Call, all_layers, trace


@keras.saving.register_keras_serializable("mm_keras")
class Rematerialized(keras.Model):
    """A functional model that, in training, keeps few of its activations.

    The graph is cut where a single tensor connects what is before with what is after. A training
    step keeps these tensors alone; the backward pass computes what lies between two of them again,
    one part after the other. Cuts are chosen for a small peak. Results, gradients,
    batch statistics and dropped units are the same as without. Outside training, and in every
    tool that looks into the graph, it is the functional model that it is made like.

    `keras.RematScope` does not serve: it wraps layer by layer, whose inputs it keeps, and with
    TensorFlow the `fit` of a model built in it fails (Keras 3.15).

    Args:
        inputs: One KerasTensor.
        outputs: One KerasTensor.
        name: Of the model.

    Raises:
        ValueError: If the model has several inputs or outputs, or a layer that adds a loss on its
            activations, which would be lost.

    Example:

    >>> import keras
    >>> from mm_keras.layers import Rematerialized
    >>> base = keras.applications.MobileNetV2(include_top=False, weights=None)
    >>> model = Rematerialized(base.input, base.output, name="slim")
    >>> model.count_params() == base.count_params()
    True

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _check(self)
        self._parts = _Parts(self)

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=training, mask=mask)
        x = tree.flatten(inputs)[0]
        for part in self._parts.all:
            x = part(x)
        return tree.pack_sequence_as(self.output, [x])


def _check(model: keras.Model) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "A model must have one input and one output to be rematerialized. Received: "
            f"{model.name!r} with {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    for layer in all_layers(model):
        if layer.activity_regularizer is not None:
            raise ValueError(
                "A model must have no activity_regularizer to be rematerialized: its loss would be "
                f"lost. Received: {model.name!r} with one in {layer.name!r}."
            )


class _Parts:
    """The parts of a model, beside those layers that Keras sees as its own."""

    def __init__(self, model: keras.Model):
        graph = trace(model)
        start, end = tree.flatten(graph.inputs)[0], tree.flatten(graph.outputs)[0]
        sizes = [sum(map(_size, tree.flatten(call.outputs))) for call in graph.calls]
        places = best_cuts(sizes, _single(graph.calls, start, end))
        edges = [0, *places, len(graph.calls)]
        self.all = []
        for first, last in itertools.pairwise(edges):
            calls = graph.calls[first:last]
            stop = end if last == len(graph.calls) else _outputs(calls[-1])[0]
            self.all.append(_Part(calls, start, stop))
            start = stop


class _Part:
    """Calls from one tensor to another, run with nothing kept in between."""

    def __init__(self, calls: Sequence[Call], start: keras.KerasTensor, stop: keras.KerasTensor):
        self.calls, self.start, self.stop = calls, start, stop
        layers = [call.op for call in calls if isinstance(call.op, keras.layers.Layer)]
        self.layers = list({id(layer): layer for layer in layers}.values())

    def __call__(self, x):
        trainable = [v for layer in self.layers for v in layer.trainable_variables]
        state = [v for layer in self.layers for v in layer.non_trainable_variables]
        before = [keras.ops.copy(v.value) for v in state]  # not the variable, which changes

        def run(x, *weights):
            mapping = [*zip(trainable, weights, strict=True), *zip(state, before, strict=True)]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                output = self._run(x)
            return output, *(scope.get_current_value(v) for v in state)

        output, *after = keras.remat(run)(x, *(v.value for v in trainable))
        for variable, value in zip(state, after, strict=True):
            variable.assign(value)
        return output

    def _run(self, x):
        values = {id(self.start): x}

        def value(tensor):
            return values[id(tensor)] if isinstance(tensor, keras.KerasTensor) else tensor

        for call in self.calls:
            args, kwargs = tree.map_structure(value, (call.args, dict(call.kwargs)))
            if "training" in inspect.signature(call.op.call).parameters:
                kwargs["training"] = True
            outputs = tree.flatten(call.op(*args, **kwargs))
            values |= zip(map(id, _outputs(call)), outputs, strict=True)
        return values[id(self.stop)]


def best_cuts(sizes: Sequence[float], allowed: Sequence[int]) -> list[int]:
    """Returns cuts with a small peak, which is what is kept and the largest part.

    Parts are filled up to a limit; of all limits that an even division gives, the best is taken.

    Args:
        sizes: Of what each call returns, in order.
        allowed: Numbers of calls before which a cut may be: what the call before returned is kept.
    """
    best, peak = [], sum(sizes)
    for parts in range(2, len(allowed) + 2):
        limit = sum(sizes) / parts
        cuts, within = [], 0.0
        for number, size in enumerate(sizes):
            if number in allowed and within + size > limit:
                cuts.append(number)
                within = 0.0
            within += size
        edges = [0, *cuts, len(sizes)]
        largest = max(sum(sizes[a:b]) for a, b in itertools.pairwise(edges))
        found = sum(sizes[cut - 1] for cut in cuts) + largest
        if found < peak:
            best, peak = cuts, found
    return best


def _single(calls, start, end) -> list[int]:
    """Returns the numbers of calls before which one tensor connects the two sides."""
    last = {id(end): len(calls)}  # the last call that takes a tensor
    for number, call in enumerate(calls):
        for tensor in tree.flatten((call.args, dict(call.kwargs))):
            if isinstance(tensor, keras.KerasTensor):
                last[id(tensor)] = max(number, last.get(id(tensor), 0))
    living, cuts = {id(start)}, []
    for number, call in enumerate(calls):
        if number and living == set(map(id, _outputs(calls[number - 1]))) and len(living) == 1:
            cuts.append(number)
        living |= set(map(id, _outputs(call)))
        living = {tensor for tensor in living if last.get(tensor, -1) > number}
    return cuts


def _outputs(call: Call) -> list[keras.KerasTensor]:
    return tree.flatten(call.outputs)


def _size(tensor: keras.KerasTensor) -> int:
    return math.prod(size or 1 for size in tensor.shape)
