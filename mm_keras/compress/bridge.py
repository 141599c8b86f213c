"""From Keras 3 to tf_keras, which TFMOT needs, and back."""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import tree

from mm_keras._checks import check_positive
from mm_keras._graphs import Runner
from mm_keras.compress.carried import CarriedCall, Slot, carried_layer, slots
from mm_keras.compress.graph import check_functional, copy_model, walk
from mm_keras.compress.legacy import tf_keras
from mm_keras.compress.native import native_layer
from mm_keras.compress.parity import difference, random_inputs, size

SMALL = 1e-3  # outputs of this size say little about agreement
ROUNDING = 100  # how many times the tolerance rounding may reach by its way through many layers


@dataclasses.dataclass(frozen=True)
class BridgedLayer:
    """What became of a layer of the Keras 3 model.

    Args:
        name: Of the tf_keras layer.
        path: Of the Keras 3 layer: its name after those of the nested models that it is in.
        layer: The Keras 3 layer, or operation, in the bridge's own copy of the model.
        kind: `"native"`: tf_keras has such a layer; `"carried"`: a thin tf_keras layer calls it;
            `"operation"`: carried, without weights (`keras.ops`, activations, masks).
    """

    name: str
    path: str
    layer: Any
    kind: str


@dataclasses.dataclass(frozen=True)
class Bridge:
    """A Keras 3 model and the tf_keras model that was made from it.

    Args:
        model: The functional tf_keras model, flat: nested models are inlined.
        source: The bridge's own copy of the Keras 3 model; carried layers are its layers.
        layers: `{name of a tf_keras layer: what it stands for}`.
        difference: The largest difference of both models' outputs on random inputs, relative to the
            size of the outputs.
    """

    model: Any
    source: keras.Model
    layers: dict[str, BridgedLayer]
    difference: float

    def to_keras(self, trained: Any = None) -> keras.Model:
        """Returns a new Keras 3 model with the weights of the tf_keras side.

        Args:
            trained: A tf_keras model with this bridge's layers, by name, without wrappers
                (`strip_pruning`, `strip_clustering`). `None`: `model`.

        Raises:
            ValueError: If `trained` lacks a layer with weights, or has it with others.
        """
        trained = self.model if trained is None else trained
        found = {layer.name: layer for layer in trained.layers}
        natives = [b for b in self.layers.values() if b.kind == "native" and b.layer.weights]
        missing = [bridged.name for bridged in natives if bridged.name not in found]
        if missing:
            raise ValueError(
                "`trained` must have every layer of the bridge, by its name and without wrappers. "
                f"Received a model without {missing}."
            )
        for bridged in natives:
            bridged.layer.set_weights(found[bridged.name].get_weights())
        return copy_model(self.source)

    @contextlib.contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Gives carried layers, which both sides share, their weights back at the end."""
        layers = [bridged.layer for bridged in self.layers.values() if bridged.kind == "carried"]
        kept = [(layer, layer.get_weights()) for layer in layers]
        try:
            yield
        finally:
            for layer, weights in kept:
                layer.set_weights(weights)


@dataclasses.dataclass
class _Value:
    """A tensor of the tf_keras graph and the mask that Keras would attach to it."""

    tensor: Any
    mask: Any = None


@dataclasses.dataclass(frozen=True)
class _Step:
    """One call on the tf_keras side.

    Args:
        path: Of the Keras 3 layer.
        run: Makes the outputs of a list of tensors, those of the masks at its end.
        outputs: Tensors of the graph.
        masked: Which of the tensors have a mask.
    """

    path: str
    run: Callable[[list], Any]
    outputs: list
    masked: tuple[int, ...] = ()


def to_tf_keras(
    model: keras.Model,
    *,
    carry: Sequence[str] = (),
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Bridge:
    """Rebuilds a functional Keras 3 model in tf_keras, with the same weights.

    Layers that tf_keras has too are rebuilt, so that TFMOT knows them; all others, and those whose
    masks or further arguments tf_keras treats otherwise, are carried: a thin tf_keras layer calls
    the Keras 3 layer. Nested models are inlined, shared layers stay shared, inputs and outputs keep
    their names and structure. Both models are then compared on random inputs.

    The model itself is not touched: weights are copied, and `Bridge.to_keras` returns a new one.

    Args:
        model: A functional model of Keras 3, or a Sequential one that is built.
        carry: Names, or paths `nested/name`, of layers to carry even if tf_keras has them.
        tolerance: How much the outputs may differ, relative to their size, or those of any layer by
            itself where depth amplifies rounding; up to 100 times as much is rounding then.
        seed: Of the random inputs.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If it is a subclassed model or has a Lambda layer or an unbuilt part, if `carry`
            names no layer, if a layer can't be carried, or if both models differ by more than
            `tolerance`: the message names the layer.

    Example:

    >>> import keras
    >>> from mm_keras.compress.bridge import to_tf_keras
    >>> inputs = keras.Input((4,))
    >>> bridge = to_tf_keras(keras.Model(inputs, keras.layers.Dense(2, name="head")(inputs)))
    >>> bridge.model.get_layer("head").kernel.shape, bridge.difference < 1e-5
    (TensorShape([4, 2]), True)
    >>> bridge.to_keras().get_layer("head").kernel.shape
    TensorShape([4, 2])
    """
    check_functional(model)
    check_positive("tolerance", tolerance)
    _check_carry(model, carry)
    source = copy_model(model)
    builder = _Builder(carry)
    built = builder.build(source)
    found = _compare(builder, built, source, tolerance, seed)
    used = {layer.name for layer in built.layers}
    layers = {name: bridged for name, bridged in builder.layers.items() if name in used}
    return Bridge(built, source, layers, found)


def _check_carry(model, carry):
    if isinstance(carry, str):
        raise TypeError(f"`carry` must be a sequence of names. Received: carry={carry!r}.")
    known = {name for layer, path in walk(model) for name in (path, layer.name)}
    unknown = sorted(set(carry) - known)
    if unknown:
        raise ValueError(f"`carry` must have names of layers. Received unknown names: {unknown}.")


class _Builder:
    """Makes the tf_keras model call by call."""

    def __init__(self, carry):
        self.carry = set(carry)
        self.layers: dict[str, BridgedLayer] = {}
        self.names: set[str] = set()
        self.natives: dict[int, tuple] = {}
        self.carriers: dict[tuple, Any] = {}
        self.carried: set[int] = set()
        self.steps: list[_Step] = []

    def build(self, source):
        inputs = tree.map_structure(self._input, source.input)
        runner = Runner(self.emit, lambda value, mask: _Value(value.tensor, mask.tensor))
        outputs = runner.run(source, inputs)
        ends = [tree.map_structure(_tensor, end) for end in (inputs, outputs)]
        return tf_keras().Model(*ends, name=source.name)

    def _input(self, x):
        name = self._unique(x.name)
        tensor = tf_keras().Input(x.shape[1:], batch_size=x.shape[0], dtype=x.dtype, name=name)
        return _Value(tensor)

    def emit(self, op, args, kwargs, path, _):
        """Makes what stands for one call; returns its outputs."""
        try:
            step = self._native(op, args, kwargs, path) or self._carry(op, args, kwargs, path)
            outputs = [_Value(tensor) for tensor in step.outputs]
            self._attach_masks(op, args, kwargs, outputs, path)
        except Exception as error:
            raise ValueError(
                f"`model` has the layer {path!r} ({type(op).__name__}), which cannot be carried "
                f"to tf_keras: {error}"
            ) from error
        self.steps.append(step)
        return outputs[0] if len(outputs) == 1 else outputs

    def _native(self, op, args, kwargs, path):
        if not isinstance(op, keras.layers.Layer) or {path, op.name} & self.carry:
            return None
        if len(args) != 1 or any(value is not None for value in kwargs.values()):
            return None
        values = args[0] if isinstance(args[0], list | tuple) else [args[0]]
        if not all(isinstance(value, _Value) for value in values):
            return None
        reads_masks = "mask" in inspect.signature(op.call).parameters or len(values) > 1
        if reads_masks and any(value.mask is not None for value in values):
            return None
        if id(op) not in self.natives:
            name = self._unique(path)
            made = native_layer(op, name)
            if made is None:
                self.names.remove(name)
                return None
            self.natives[id(op)] = made
        layer, activation = self.natives[id(op)]
        is_list = isinstance(args[0], list | tuple)

        def run(tensors):
            output = layer(tensors if is_list else tensors[0])
            return output if follower is None else follower([output])

        was_built, follower = layer.built, None
        if activation is not None:
            call = CarriedCall(activation, (Slot(0),), {}, {}, None)
            follower = self._thin(call, f"{path}_activation", op, "operation")
        output = run([value.tensor for value in values])
        if not was_built:
            layer.set_weights(op.get_weights())
        self.layers.setdefault(layer.name, BridgedLayer(layer.name, path, op, "native"))
        return _Step(path, run, [output])

    def _carry(self, op, args, kwargs, path):
        is_layer = isinstance(op, keras.layers.Layer)
        values, args, kwargs = slots(args, kwargs, lambda x: isinstance(x, _Value))
        tensors, masks = [value.tensor for value in values], {}
        for index, value in enumerate(values):
            if is_layer and value.mask is not None:
                masks[index] = len(tensors)
                tensors.append(value.mask)
        key = (id(op), repr((args, kwargs, masks)))
        plain = all(isinstance(x, _PLAIN) or x is None for x in tree.flatten((args, kwargs)))
        layer = self.carriers.get(key) if plain else None
        if layer is None:
            call = CarriedCall(
                op, args, kwargs, masks, op if is_layer else None, id(op) not in self.carried
            )
            has_weights = is_layer and op.weights
            layer = self._thin(call, path, op, "carried" if has_weights else "operation")
            self.carried.add(id(op))
            self.carriers[key] = layer
        return _Step(path, layer, tree.flatten(layer(tensors)), tuple(masks))

    def _attach_masks(self, op, args, kwargs, outputs, path):
        """Gives outputs the masks that Keras would attach to them."""
        if not isinstance(op, keras.layers.Layer) or not op.supports_masking:
            return
        first = args[0] if args else next(iter(kwargs.values()))
        previous = kwargs.get("mask")
        if previous is None:
            previous = tree.map_structure(_mask, first)
        masks = [mask for mask in tree.flatten(previous) if mask is not None]
        if not masks and type(op).compute_mask is keras.layers.Layer.compute_mask:
            return
        twins: dict[int, Any] = {}

        def twin(x):
            if not isinstance(x, _Value):
                return x
            spec = keras.KerasTensor(tuple(x.tensor.shape), dtype=x.tensor.dtype.name)
            twins[id(spec)] = x
            return spec

        first_twin, previous_twin = tree.map_structure(twin, (first, previous))
        found = op.compute_mask(first_twin, previous_twin)
        found = tree.flatten(found)
        if all(mask is None for mask in found):
            return
        if all(mask is None or id(mask) in twins for mask in found):
            computed = [None if mask is None else twins[id(mask)] for mask in found]
        else:
            values, slotted, _ = slots((first, previous), {}, lambda x: isinstance(x, _Value))
            call = CarriedCall(op.compute_mask, slotted, {}, {}, None)
            layer = self._thin(call, f"{path}_mask", op, "operation")
            made = iter(tree.flatten(layer([value.tensor for value in values])))
            computed = [None if mask is None else _Value(next(made)) for mask in found]
        for value, mask in zip(outputs, computed, strict=False):
            value.mask = None if mask is None else mask.tensor

    def _thin(self, call, path, op, kind):
        layer = carried_layer()(call.handle, name=self._unique(path))
        layer.trainable = getattr(op, "trainable", True)
        self.layers[layer.name] = BridgedLayer(layer.name, path, op, kind)
        return layer

    def _unique(self, path):
        """Returns the layer's own name, or its path where another layer has that name."""
        parts = path.split("/")
        for start in range(len(parts) - 1, -1, -1):
            name = "_".join(parts[start:])
            if name not in self.names:
                break
        count, first = 1, name
        while name in self.names:
            count += 1
            name = f"{first}_{count}"
        self.names.add(name)
        return name


_PLAIN = (Slot, str, int, float, bool)


def _tensor(value):
    return value.tensor


def _mask(value):
    if not isinstance(value, _Value) or value.mask is None:
        return None
    return _Value(value.mask)


def _compare(builder, built, source, tolerance, seed):
    """Returns the difference of both models' outputs; raises where it is too large.

    Depth amplifies rounding, and outputs that vanish, as those of deep networks without training
    do, would hide a mistake: in both cases every layer is checked by itself, on the same inputs.
    """
    inputs = random_inputs(source, seed)
    expected = source(inputs, training=False)
    found = difference(expected, built(inputs, training=False))
    if found <= tolerance and size(expected) > SMALL:
        return found
    for path, here in _differences(builder.steps, source, inputs):
        if here > tolerance:
            raise ValueError(
                f"`model` has the layer {path!r}, whose tf_keras counterpart gives other outputs: "
                f"they differ by {here:.1e} of their size, more than tolerance={tolerance}. "
                f"Pass carry=[{path!r}] to keep the Keras 3 layer there."
            )
    if found > ROUNDING * tolerance:
        raise ValueError(
            f"`model` and its tf_keras counterpart differ by {found:.1e}, more than "
            f"{ROUNDING} × tolerance={tolerance}, though every layer agrees by itself."
        )
    return found


def _differences(steps, source, inputs):
    """Returns path and difference of each call, given the inputs that it has in Keras 3."""
    found, remaining = [], iter(steps)

    def check(op, args, kwargs, path, _):
        values, _, _ = slots(args, kwargs, lambda x: isinstance(x, _Value))
        tensors = [value.tensor for value in values]
        args, kwargs = tree.map_structure(
            lambda x: x.tensor if isinstance(x, _Value) else x, (args, kwargs)
        )
        if isinstance(op, keras.layers.Layer):
            kwargs["training"] = False
        step = next(remaining)
        masks = [tensors[index]._keras_mask for index in step.masked]
        outputs = op(*args, **kwargs)
        for index, mask in zip(step.masked, masks, strict=True):
            tensors[index]._keras_mask = mask  # MultiHeadAttention takes it off
        expected = [x for x in tree.flatten(outputs) if x is not None]
        actual = tree.flatten(step.run(tensors + masks))
        floats = [x for x in tensors if x.dtype.is_floating]
        found.append((step.path, difference(expected, actual, least=size(floats))))
        return tree.map_structure(_Value, outputs)

    def attach(value, mask):
        value = keras.ops.copy(value.tensor)
        value._keras_mask = mask.tensor
        return _Value(value)

    Runner(check, attach).run(source, tree.map_structure(_Value, inputs))
    return found
