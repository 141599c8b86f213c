"""Functional Keras 3 graphs as lists of calls, and copies of them."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import tree

Emit = Callable[[keras.Operation, tuple, dict, str, Any], Any]


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


def check_functional(model: keras.Model) -> None:
    """Raises unless a model is a functional graph, without Lambda layers, all the way down."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Compression needs TensorFlow as the backend of Keras: set KERAS_BACKEND=tensorflow "
            f"and load the model anew. Received: {keras.backend.backend()!r}."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a functional keras.Model of Keras 3, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    for part, path in walk(model):
        if isinstance(part, keras.Model) and not is_graph(part):
            built = isinstance(part, keras.Sequential)
            raise ValueError(
                "`model` must be functional, made of layers between keras.Input and outputs: "
                + ("call `build` of a Sequential model first. " if built else "")
                + f"Received: {path!r}, which is {'unbuilt' if built else 'a subclassed model'} "
                f"({type(part).__name__})."
            )
        if type(part).__name__ == "Lambda" and isinstance(part, keras.layers.Layer):
            raise ValueError(
                "`model` must have no Lambda layers, whose code cannot be copied safely: make it "
                "a registered layer of its own, or use keras.ops. "
                f"Received: the layer {path!r}."
            )


def is_graph(model: keras.Model) -> bool:
    """Returns whether a model is functional, or a Sequential that has its input."""
    if isinstance(model, keras.Sequential):
        return model.built and bool(model.inputs)
    return hasattr(model, "operations")


def walk(
    model: keras.Model, wrapped: bool = True, prefix: str = ""
) -> Iterator[tuple[keras.layers.Layer, str]]:
    """Yields every layer and nested model with its path: its name after those it is nested in.

    Args:
        model: A functional model.
        wrapped: Whether to go into wrappers such as `TimeDistributed`, too.
        prefix: Stands before every path.
    """
    if not prefix:
        yield model, model.name
    for layer in model.layers if isinstance(model, keras.Model) else [model.layer]:
        path = f"{prefix}{layer.name}"
        yield layer, path
        is_wrapper = isinstance(getattr(layer, "layer", None), keras.layers.Layer)
        if (is_wrapper and wrapped) or (isinstance(layer, keras.Model) and is_graph(layer)):
            yield from walk(layer, wrapped, path + "/")


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a copy with the same names and weights, not compiled.

    Shared layers stay shared, in nested models too; vocabularies come along.
    """
    plain = _plain(model)
    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}

    def clone(layer):
        if not isinstance(layer, keras.layers.Layer):  # operations have no state
            return layer
        if id(layer) not in copies:
            copies[id(layer)] = layer, type(layer).from_config(layer.get_config())
        return copies[id(layer)][1]

    copied = keras.models.clone_model(plain, clone_function=clone, recursive=True)
    copied.set_weights(plain.get_weights())
    for layer, new in copies.values():
        _copy_state(layer, new)
    return copied


def _plain(model: keras.Model) -> keras.Model:
    """Returns a functional model of the same layers, not compiled."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def _copy_state(layer: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copies what a layer keeps in files of its own, or derives from its weights."""
    if type(layer).load_own_variables is not keras.layers.Layer.load_own_variables:
        store = {}
        layer.save_own_variables(store)
        new.load_own_variables(store)
    if hasattr(layer, "save_assets"):  # vocabularies
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            new.load_assets(folder)


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
        _plain(model), clone_function=lambda layer: layer, call_function=record
    )
    return Graph(traced.input, traced.output, tuple(calls))


class Runner:
    """Runs graphs with something else in the place of their tensors.

    Nested models are run in place: their calls come one by one, as if they were not nested.

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
            if isinstance(call.op, keras.Model):
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
