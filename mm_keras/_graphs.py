"""What several parts of the package ask of functional graphs."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import tree

Emit = Callable[[keras.Operation, tuple, dict, str, Any], Any]


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model, and those of the models within it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)


def needed_inputs(inputs, outputs):
    """Returns those of a dict of inputs that some output depends on."""
    if not isinstance(inputs, dict):
        return inputs
    for name in list(inputs):
        others = {key: tensor for key, tensor in inputs.items() if key != name}
        try:
            keras.Model(others, outputs)
        except ValueError:  # the graph is cut off from an input
            continue
        inputs = others
    return inputs


def keep_policy(model: keras.Model) -> None:
    """Gives a model the mixed policy that layers of it have.

    Keras saves the policy of each layer, but not that of the graph, by which `compile` decides
    whether to scale the loss; a graph made of layers anew has the policy of the moment.
    """
    if isinstance(model, keras.Model):
        for layer in all_layers(model):
            if layer.compute_dtype != layer.variable_dtype:
                model.dtype_policy = layer.dtype_policy
                return


@contextlib.contextmanager
def dtype_policy(name: str | None):
    """Sets the dtype policy of the process for a while; with `None` it stays."""
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_graph(model: keras.Model) -> bool:
    """Returns whether a model is functional, or a Sequential that has its input."""
    if isinstance(model, keras.Sequential):
        return model.built and bool(model.inputs)
    return hasattr(model, "operations")


def plain_model(model: keras.Model) -> keras.Model:
    """Returns a functional model of the same layers, not compiled."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or operation.

    Args:
        op: The layer, nested model or operation.
        args: Positional arguments, with KerasTensors where tensors go.
        kwargs: Keyword arguments, likewise.
        outputs: What it returned: a structure of KerasTensors.
    """

    op: keras.Operation
    args: tuple
    kwargs: Mapping[str, Any]
    outputs: Any


@dataclasses.dataclass(frozen=True)
class Graph:
    """A model's calls in an order in which they can run.

    Args:
        inputs: Structure of KerasTensors.
        outputs: Structure of KerasTensors.
        calls: In topological order.
    """

    inputs: Any
    outputs: Any
    calls: tuple[Call, ...]


def trace(model: keras.Model) -> Graph:
    """Returns a model's calls; nested models are one call each."""
    calls = []

    def record(op, *args, **kwargs):
        outputs = op(*args, **kwargs)
        calls.append(Call(op, args, kwargs, outputs))
        return outputs

    if isinstance(model, keras.Sequential):
        inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        outputs = inputs
        for layer in model.layers:
            outputs = record(layer, outputs)
        return Graph(inputs, outputs, tuple(calls))
    traced = keras.models.clone_model(
        plain_model(model), clone_function=lambda layer: layer, call_function=record
    )
    return Graph(traced.input, traced.output, tuple(calls))


class Runner:
    """Runs graphs with something else in the place of their tensors.

    Nested models are run in place: their calls come one by one, as if they were not nested. One
    that is no graph, a subclassed model, is one call.

    Args:
        emit: `emit(op, args, kwargs, path, outputs)` makes the outputs of one call; `path` is the
            layer's name after those of the nested models that it is in, `outputs` the structure of
            KerasTensors that Keras got.
        attach: `attach(value, mask)` returns a value that carries a mask.
    """

    def __init__(self, emit: Emit, attach: Callable[[Any, Any], Any]):
        self.emit, self.attach = emit, attach
        self.graphs: dict[int, Graph] = {}

    def run(self, model: keras.Model, inputs: Any, prefix: str = "") -> Any:
        """Returns the outputs for a structure of inputs like the model's."""
        if id(model) not in self.graphs:
            self.graphs[id(model)] = trace(model)
        graph = self.graphs[id(model)]
        values = dict(zip(map(id, tree.flatten(graph.inputs)), tree.flatten(inputs), strict=True))

        def value(x):
            return values[id(x)] if isinstance(x, keras.KerasTensor) else x

        for call in graph.calls:
            args = tree.map_structure(value, call.args)
            kwargs = tree.map_structure(value, dict(call.kwargs))
            path = prefix + call.op.name
            if isinstance(call.op, keras.layers.Layer):
                # Keras, too, passes on what the whole model is called with, and nothing else.
                kwargs.pop("training", None)
            if isinstance(call.op, keras.Model) and is_graph(call.op):
                outputs = self._run_nested(call.op, args, kwargs, path)
            else:
                outputs = self.emit(call.op, args, kwargs, path, call.outputs)
            for tensor, output in zip(
                tree.flatten(call.outputs), tree.flatten(outputs), strict=True
            ):
                values[id(tensor)] = output
        return tree.map_structure(value, graph.outputs)

    def _run_nested(self, model, args, kwargs, path):
        inputs = args[0] if args else kwargs["inputs"]
        mask = kwargs.get("mask", args[1] if len(args) > 1 else None)
        if mask is not None:
            flat = zip(tree.flatten(inputs), tree.flatten(mask), strict=True)
            masked = [x if m is None else self.attach(x, m) for x, m in flat]
            inputs = tree.pack_sequence_as(inputs, masked)
        if isinstance(inputs, dict):  # Keras takes them by name, whatever the order
            inputs = tree.map_structure(lambda tensor: inputs[tensor.name], model.input)
        return self.run(model, inputs, path + "/")


def layer_sources(model: keras.Model) -> dict[str, list[str]]:
    """Returns `{layer: layers it is fed by}` of a functional model, in the order of the graph."""
    return {
        layer["config"]["name"]: sorted(set(_sources(layer["inbound_nodes"])))
        for layer in model.get_config()["layers"]
    }


def _sources(nodes) -> Iterator[str]:
    """Yields the names of layers that a layer's serialised call arguments come from."""
    if isinstance(nodes, Mapping):
        if nodes.get("class_name") == "__keras_tensor__":
            yield nodes["config"]["keras_history"][0]
        else:
            yield from _sources(list(nodes.values()))
    elif isinstance(nodes, list | tuple):
        for node in nodes:
            yield from _sources(node)
