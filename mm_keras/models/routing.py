"""Predictions that run only the modalities that gates choose."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mm_keras._checks import check_int
from mm_keras._graphs import needed_inputs
from mm_keras.layers import AlwaysPresent, ApplyGates, ModalityGate
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.models.inference import inference_model

GATES = "routed_gates"


class RoutedPredictor:
    """Predicts with the gates first, then with the chosen modalities alone.

    A graph computes every branch and multiplies those that are not chosen by zero. This object
    computes the gates from cheap features, groups the samples by the modalities whose gates are
    above 0, and runs each group through a graph that has no other branches. So with hard or top-k
    selection the modalities that were not chosen cost nothing, and absent ones never do.
    Predictions are those of the model, up to rounding.

    Groups are run one after the other: with small batches, or branches as cheap as the gate, the
    whole graph is faster. benchmarks/dfn.py measures one case.

    Args:
        model: From `build_dfn` with `gate_on="inputs"` and no `exchange`, or a graph by hand in
            which a `ModalityGate` scores cheap features and `ApplyGates` applies its gates. Its
            weights are shared, so that what it learns later counts here too.

    Raises:
        TypeError: If `model` is no functional model with dicts for inputs and outputs.
        ValueError: If the graph lets nothing be left out.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_dfn(
    ...     {"a": mm.Features(3), "b": mm.Features(3)}, 2, selection="hard", gate_on="inputs"
    ... )
    >>> inputs = {"a": np.ones((5, 3)), "b": np.zeros((5, 3))}
    >>> predictions = mm.RoutedPredictor(model).predict(inputs)
    >>> predictions["label"].shape, predictions["gates"].shape
    ((5, 2), (5, 2))
    """

    def __init__(self, model: keras.Model):
        self._model = inference_model(model)
        if not isinstance(self._model.input, dict) or not isinstance(self._model.output, dict):
            raise TypeError(
                "`model` must have dicts for inputs and outputs, as a builder's model has. "
                f"Received inputs: {self._model.input!r}."
            )
        for kind in (ModalityGate, ApplyGates):
            count = sum(isinstance(layer, kind) for layer in self._model.layers)
            if count != 1:
                raise ValueError(
                    f"`model` must have one {kind.__name__}: build it with "
                    "build_dfn(…, gate_on='inputs'), so that the gates are known before the "
                    f"features are. Received: {model.name!r}, which has {count}."
                )
        graph = _Graph(self._model)
        self.names = sorted(graph.features)
        for name in self.names:
            _check_separate(self._model.input, name, graph.features[name])
        _check_separate(self._model.input, "gates", graph.gates, allowed=ModalityGate)
        self._gate = _prune(self._model.input, {GATES: graph.gates})
        self._branches: dict[tuple[bool, ...], keras.Model] = {}

    def predict(self, inputs: Mapping[str, Any], batch_size: int = 32) -> dict[str, np.ndarray]:
        """Returns what the model's own `predict` returns.

        Args:
            inputs: `{input: array}`.
            batch_size: Most samples in a batch.
        """
        check_int("batch_size", batch_size)
        missing = sorted(set(self._model.input) - set(inputs))
        if missing:
            raise ValueError(
                f"`inputs` must have arrays for {sorted(self._model.input)}. Missing: {missing}."
            )
        inputs = {name: np.asarray(inputs[name]) for name in self._model.input}
        sizes = {name: len(array) for name, array in inputs.items()}
        if len(set(sizes.values())) != 1 or not next(iter(sizes.values())):
            raise ValueError(
                f"`inputs` must have one number of samples, at least 1. Received: {sizes}."
            )
        gates = _run(self._gate, inputs, batch_size)[GATES]
        patterns, group = np.unique(gates > 0, axis=0, return_inverse=True)
        group = group.reshape(-1)
        outputs: dict[str, np.ndarray] = {}
        for index, pattern in enumerate(patterns):
            rows = np.flatnonzero(group == index)
            branch = self._branch(tuple(bool(chosen) for chosen in pattern))
            part = {name: array[rows] for name, array in {**inputs, GATES: gates}.items()}
            for name, values in _run(branch, part, batch_size).items():
                if name not in outputs:
                    outputs[name] = np.empty((len(group), *values.shape[1:]), values.dtype)
                outputs[name][rows] = values
        return outputs

    def _branch(self, chosen: tuple[bool, ...]) -> keras.Model:
        """Returns the graph, from inputs and gates, that has the chosen modalities only."""
        if chosen not in self._branches:
            names = [name for name, here in zip(self.names, chosen, strict=True) if here]
            graph = _Graph(self._model, names)
            self._branches[chosen] = _prune(graph.inputs, graph.outputs)
        return self._branches[chosen]


class _Graph:
    """The model's graph once more, over the same layers.

    Args:
        model: Without training-only parts.
        chosen: Modalities to keep; gates are then an input, and the features of the others zeros.
            `None`: the graph as it is.
    """

    def __init__(self, model: keras.Model, chosen: list[str] | None = None):
        gate = next(layer for layer in model.layers if isinstance(layer, ModalityGate))
        entry = keras.Input((len(gate.names),), dtype="float32", name=GATES)
        whole = keras.Model({**model.input, GATES: entry}, {**model.output, GATES: entry})

        def apply(layer, features, gates, mask=None):
            self.features, self.gates = features, gates
            if chosen is not None:
                features = {
                    name: x if name in chosen else _zeros(entry, x) for name, x in features.items()
                }
            return layer(features, gates, mask=mask)

        def call(layer, *args, **kwargs):
            if isinstance(layer, ApplyGates):
                return apply(layer, *args, **kwargs)
            if chosen is not None and layer is gate:
                return {**layer(*args, **kwargs), "gates": entry}
            if chosen is not None and isinstance(layer, AlwaysPresent):
                return layer(entry)  # a mask of ones: any tensor of the batch gives it
            return layer(*args, **kwargs)

        clone = keras.models.clone_model(
            whole,
            input_tensors=whole.input,
            clone_function=lambda layer: layer,
            call_function=call,
        )
        self.inputs = clone.input
        self.outputs = {name: x for name, x in clone.output.items() if name != GATES}


def _zeros(gates, like):
    """Returns zeros of the shape of `like`, made of the gates `(B, M)`."""
    zeros = ops.expand_dims(ops.zeros_like(gates[:, :1]), -1)
    return ops.cast(ops.tile(zeros, (1, like.shape[1] or 1, like.shape[2])), like.dtype)


def _check_separate(inputs, name, tensor, allowed: type | None = None) -> None:
    """Raises if a layer over several modalities stands before a tensor."""
    for layer in _prune(inputs, {"": tensor}).layers:
        if isinstance(layer, MultimodalLayer) and not isinstance(layer, allowed or ()):
            raise ValueError(
                "`model` must compute each modality's features without the others, or none can be "
                f"left out: build it with exchange=None. Received: {layer.name!r} stands before "
                f"{name!r}."
            )


def _prune(inputs, outputs) -> keras.Model:
    """Returns a model with those inputs only that the outputs need."""
    return keras.Model(needed_inputs(inputs, outputs), outputs)


def _run(model: keras.Model, inputs, batch_size: int) -> dict[str, np.ndarray]:
    parts = {name: inputs[name] for name in model.input}
    return model.predict(parts, batch_size=batch_size, verbose=0)
