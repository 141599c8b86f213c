"""A model whose calls can be looked at and changed while it runs, nested backbones included."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from mm_keras._checks import PRESENT, check_choice, check_int
from mm_keras._graphs import Runner, is_graph
from mm_keras.evaluate.origin import Origin, merged_origin, origins_in, origins_of
from mm_keras.evaluate.samples import Arrays, joined
from mm_keras.modalities import Modality
from mm_keras.models import inference_model, modalities_of

Key = tuple[str, int]  # a layer's path, and which of its calls: a shared layer has several
Change = Callable[[keras.Operation, tuple, dict], Any]  # makes the outputs of a call
OUTPUT = "output"


@dataclasses.dataclass(frozen=True)
class Step:
    """One call.

    Args:
        key: Path of the layer, and which of its calls.
        op: The layer or operation.
        args: Positional arguments, with an `Origin` where tensors go.
        kwargs: Keyword arguments, likewise.
        outputs: Structure of KerasTensors.
        origins: The same structure of `Origin`.
    """

    key: Key
    op: keras.Operation
    args: tuple
    kwargs: dict[str, Any]
    outputs: Any
    origins: Any


class Explained:
    """A functional model, taken apart into its calls.

    Args:
        model: A functional model; of one from a builder, only what ships is run.
        head: Name of the output that is asked for; `None`: all.
    """

    def __init__(self, model: keras.Model, head: str | None = None):
        named = _named(model)
        if head is not None:
            check_choice("head", head, list(named.output))
        self.model = inference_model(named, None if head is None else [head])
        self.head = head
        self.specs: dict[str, Modality] = modalities_of(self.model)
        self.names = [name for name in self.model.input if not name.endswith(PRESENT)]
        self.runner = Runner(
            lambda *call: self._emit(*call), lambda value, mask: self._attach(value, mask)
        )
        self.steps: list[Step] = []
        self._makers: dict[int, Key] = {}  # of an output, by its tensor's id
        self._emit, self._attach = self._survey, lambda value, mask: value
        self._counts: dict[str, int] = {}
        origins = {
            name: Origin(frozenset([name.removesuffix(PRESENT)]), tuple(x.shape), x.dtype)
            for name, x in self.model.input.items()
        }
        self.runner.run(self.model, origins)
        graph = self.runner.graphs[id(self.model)]
        self.makers = {name: self._makers.get(id(x)) for name, x in graph.outputs.items()}

    def run(self, inputs: Mapping[str, Any], changes: Mapping[Key, Change] | None = None) -> dict:
        """Returns `{output: tensor}` of a batch, in inference.

        Args:
            inputs: `{name: (B, …)}`.
            changes: `{key: change}`: `change(op, args, kwargs)` returns what that call gives.
        """
        changes = changes or {}

        def emit(op, args, kwargs, path, outputs):
            change = changes.get(self._next(path))
            return change(op, args, kwargs) if change else op(*args, **kwargs)

        self._emit, self._attach, self._counts = emit, _attached, {}
        tensors = {
            name: ops.convert_to_tensor(inputs[name], dtype=x.dtype)
            for name, x in self.model.input.items()
        }
        return self.runner.run(self.model, tensors)

    def score(
        self, inputs: Mapping[str, Any], classes: np.ndarray, changes: Mapping[Key, Change]
    ) -> Any:
        """Returns `(B,)` float32: the head's output of the classes `(B,)`."""
        outputs = ops.cast(self.run(inputs, changes)[self.head], "float32")
        return ops.take_along_axis(outputs, classes[:, None].astype("int32"), axis=1)[:, 0]

    def before_activation(self) -> dict[Key, Change]:
        """Returns the change that makes the head give logits; none, if it has no softmax."""
        key = self.makers[self.head]
        op = next((step.op for step in self.steps if step.key == key), None)
        if isinstance(op, keras.layers.Activation | keras.layers.Softmax):
            return {key: lambda op, args, kwargs: args[0]}
        if isinstance(op, keras.layers.Dense):
            return {key: _linear}
        return {}

    def batches(self, data: Any, batch_size: int) -> Iterator[Arrays]:
        """Yields `{name: (B, …)}` of the model's inputs.

        Args:
            data: `{name: (n, …)}`; or an array, of a model with one input; or batches of either,
                or of tuples that begin with them.
            batch_size: Of whole arrays.
        """
        check_int("batch_size", batch_size)
        names = list(self.model.input)
        count = 0
        for element in _elements(data, names, batch_size):
            missing = sorted(set(names) - set(element))
            if missing:
                raise ValueError(
                    f"`inputs` must have every input of the model, {sorted(names)}. "
                    f"Received without: {missing}."
                )
            batch = {name: np.asarray(element[name]) for name in names}
            sizes = {name: len(array) for name, array in batch.items()}
            if len(set(sizes.values())) != 1:
                raise ValueError(f"`inputs` must have arrays of one length. Received: {sizes}.")
            count += len(batch[names[0]])
            yield batch
        if not count:
            raise ValueError("`inputs` must have at least one sample. Received: none.")

    def collect(
        self, data: Any, batch_size: int, explain: Callable[[Arrays, int], Arrays]
    ) -> Arrays:
        """Returns `{name: (n, …)}` of what `explain(batch, samples before it)` gives."""
        parts, start = [], 0
        for batch in self.batches(data, batch_size):
            parts.append(explain(batch, start))
            start += len(next(iter(batch.values())))
        return joined(parts)

    def classes(self, inputs: Arrays, target, start: int) -> np.ndarray:
        """Returns the numbers `(B,)` of the classes that are explained, of a batch.

        Args:
            inputs: The batch.
            target: `"predicted"`, a number, or numbers `(n,)` of all samples.
            start: How many samples come before the batch.
        """
        shape = tuple(self.model.output[self.head].shape)
        size, last = len(next(iter(inputs.values()))), shape[-1]
        if len(shape) != 2:
            raise ValueError(
                f"`head` must name an output (B, C). Received: head={self.head!r}, {shape}."
            )
        if isinstance(target, str):
            check_choice("target", target, ["predicted"])
            return ops.convert_to_numpy(self.run(inputs)[self.head]).argmax(axis=1)
        numbers = np.asarray(target)
        numbers = np.full(size, numbers) if numbers.ndim == 0 else numbers[start : start + size]
        if numbers.shape != (size,) or numbers.dtype.kind not in "iu":
            raise ValueError(
                "`target` must be 'predicted', the number of a class, or an array with one for "
                f"each sample. Received: target={target!r}."
            )
        if numbers.min() < 0 or numbers.max() >= last:
            raise ValueError(
                f"`target` must be classes from 0 to {last - 1} of the head {self.head!r}. "
                f"Received: {numbers.min()} to {numbers.max()}."
            )
        return numbers

    def check_modality(self, argument: str, name: str) -> None:
        """Raises unless there is a modality, or input, of that name."""
        check_choice(argument, name, self.names)

    def _next(self, path: str) -> Key:
        number = self._counts.get(path, 0)
        self._counts[path] = number + 1
        return path, number

    def _survey(self, op, args, kwargs, path, outputs):
        given = origins_in((args, kwargs))
        flat = tree.flatten(outputs)
        merged = merged_origin(op, given, flat[0]) if given else Origin(frozenset())
        first = args[0] if args else None
        origins = origins_of(outputs, first if isinstance(first, dict) else {}, merged)
        key = self._next(path)
        self.steps.append(Step(key, op, args, kwargs, outputs, origins))
        self._makers.update((id(tensor), key) for tensor in flat)
        return origins


def cleared(inputs: Arrays, name: str, values: np.ndarray | None = None) -> np.ndarray:
    """Returns a modality, or `values` `(B, …)` of it, with zeros where a sample lacks it.

    Single views that are absent become zeros too, where the values have an axis of views.
    """
    values = inputs[name] if values is None else values
    if name + PRESENT not in inputs:
        return values
    present = np.asarray(inputs[name + PRESENT], "bool").reshape(len(values), -1)
    if values.ndim == 1 or present.shape[1] not in (1, values.shape[1]):
        present = present.any(axis=1, keepdims=True)
    present = present.reshape(*present.shape[: values.ndim], *[1] * (values.ndim - 2))
    return np.where(present, values, np.zeros_like(values))


def _named(model: keras.Model) -> keras.Model:
    """Returns the same graph with a dict of inputs and a dict of outputs."""
    if not isinstance(model, keras.Model) or not is_graph(model):
        raise TypeError(
            "`model` must be a functional keras.Model, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    if isinstance(model, keras.Sequential):
        inputs, outputs = model.inputs, model.outputs
    else:
        inputs, outputs = model.input, model.output
    if isinstance(inputs, Mapping) and isinstance(outputs, Mapping):
        return model
    if not isinstance(inputs, Mapping):
        inputs = {tensor.name: tensor for tensor in tree.flatten(inputs)}
    if not isinstance(outputs, Mapping):
        outputs = tree.flatten(outputs)
        names = [OUTPUT] if len(outputs) == 1 else [f"{OUTPUT}_{n}" for n in range(len(outputs))]
        outputs = dict(zip(names, outputs, strict=True))
    return keras.Model(inputs, outputs, name=model.name)


def _elements(data: Any, names: list[str], batch_size: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, np.ndarray) or ops.is_tensor(data):
        data = _by_name(data, names)
    if not isinstance(data, Mapping):
        for element in data:
            element = element[0] if isinstance(element, tuple) else element
            yield element if isinstance(element, Mapping) else _by_name(element, names)
        return
    for start in range(0, max(map(len, data.values()), default=0), batch_size):
        yield {name: array[start : start + batch_size] for name, array in data.items()}


def _by_name(array: Any, names: list[str]) -> dict[str, Any]:
    if len(names) != 1:
        raise ValueError(
            f"`inputs` must be a dict with {names}, of a model with several inputs. "
            f"Received: {type(array).__name__}."
        )
    return {names[0]: array}


def _linear(op, args, kwargs):
    y = ops.matmul(ops.cast(args[0], op.compute_dtype), ops.cast(op.kernel, op.compute_dtype))
    return y if op.bias is None else y + ops.cast(op.bias, y.dtype)


def _attached(value, mask):
    return _Masked(mask)(value)


class _Masked(keras.layers.Layer):
    """Attaches a mask to a tensor."""

    def __init__(self, given):
        super().__init__(autocast=False)
        self.supports_masking = True
        self.given = given

    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, previous_mask=None):
        return self.given
