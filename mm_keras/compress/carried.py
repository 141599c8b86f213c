"""Keras 3 layers and operations inside a tf_keras graph."""

import contextlib
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from mm_keras.compress.legacy import tf_keras, tfmot
from mm_keras.compress.weights import compressible

_HANDLES = itertools.count()
_CALLS: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class Slot:
    """The place of tensor number `index` among the arguments of a call."""

    def __init__(self, index: int):
        self.index = index

    def __eq__(self, other):
        return isinstance(other, Slot) and self.index == other.index

    def __hash__(self):
        return hash(self.index)

    def __repr__(self):
        return f"Slot({self.index})"


class CarriedCall:
    """What a carried layer does: calls a Keras 3 layer, operation or function.

    Args:
        op: The Keras 3 layer or operation, or a function.
        args: Positional arguments, with `Slot` where tensors go.
        kwargs: Keyword arguments, likewise.
        masks: `{slot index: number of the tensor that is its mask}`.
        owner: The Keras 3 layer whose weights the call uses, if any.
        regularized: Whether its weight regularization counts here, and not at another call.
        weights: Those that TFMOT works on; `None`: kernels and embedding tables of the owner.
    """

    def __init__(
        self,
        op: Callable,
        args: tuple,
        kwargs: dict,
        masks: dict[int, int],
        owner: keras.layers.Layer | None,
        regularized: bool = True,
        weights: tuple[keras.Variable, ...] | None = None,
    ):
        self.op, self.args, self.kwargs, self.masks = op, args, kwargs, masks
        self.owner, self.regularized = owner, regularized
        if weights is None:
            weights = () if owner is None else tuple(compressible(owner))
        self.weights = weights
        self.handle = next(_HANDLES)
        _CALLS[self.handle] = self

    @property
    def variables(self) -> list[keras.Variable]:
        """The Keras 3 variables."""
        return [] if self.owner is None else self.owner.variables

    def __call__(
        self, tensors: list[tf.Tensor], training: bool, values: list[tf.Tensor | None] = ()
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Makes the call.

        Args:
            tensors: What goes into the slots.
            training: Passed on to layers.
            values: For each of `weights`, a tensor that takes its place; or `None`.

        Returns:
            The outputs, and the losses that the layer added.
        """
        # Identities, since masks are set on them: the graph's own tensors must have none.
        tensors = [tf.identity(tensor) for tensor in tensors]
        for index, mask in self.masks.items():
            tensors[index]._keras_mask = tensors[mask]  # where Keras itself keeps them

        def fill(x):
            return tensors[x.index] if isinstance(x, Slot) else x

        args, kwargs = tree.map_structure(fill, (self.args, self.kwargs))
        if self.owner is not None:
            kwargs.setdefault("training", training)
        replaced = [(w, v) for w, v in zip(self.weights, values, strict=False) if v is not None]
        if replaced:
            outputs, losses = self._call_with(replaced, args, kwargs)
        else:
            outputs, losses = self.op(*args, **kwargs), self._losses()
        outputs = [tf.identity(x) for x in tree.flatten(outputs) if x is not None]
        return outputs, losses if training else []

    def _call_with(self, replaced, args, kwargs):
        with keras.StatelessScope(state_mapping=replaced, collect_losses=True) as scope:
            outputs, losses = self.op(*args, **kwargs), self._losses()
        kept = {id(weight) for weight, _ in replaced}
        for variable in self.variables:  # moving statistics, states of seed generators
            value = scope.get_current_value(variable)
            if value is not None and id(variable) not in kept:
                variable.assign(value)
        return outputs, losses

    def _losses(self):
        if self.owner is None:
            return []
        losses = self.owner.losses
        if self.regularized:
            return losses
        count = sum(v.regularizer is not None for v in self.owner.trainable_weights)
        return losses[: len(losses) - count]


class _Training(threading.local):
    active = False


_TRAINING = _Training()


@contextlib.contextmanager
def training_scope() -> Iterator[None]:
    """Tells carried layers that this is a training step where a wrapper doesn't pass it on."""
    _TRAINING.active = True
    try:
        yield
    finally:
        _TRAINING.active = False


@functools.cache
def carried_layer() -> type:
    """Returns the class of the thin tf_keras layer that makes a `CarriedCall`.

    It is made on first use, since its base class is imported then.
    """
    legacy, clusterable = tf_keras(), tfmot().clustering.keras.ClusterableLayer

    @legacy.utils.register_keras_serializable("mm_keras")
    class Carried(legacy.layers.Layer, clusterable):
        """Calls a Keras 3 layer and answers for its variables.

        Its configuration refers to the call by a handle: copies within the process share the
        Keras 3 layer and its weights.

        Args:
            handle: Of the `CarriedCall`.

        Call arguments:
            inputs: List of all tensors among the arguments, and of their masks.
        """

        def __init__(self, handle: int, **kwargs):
            super().__init__(autocast=False, **kwargs)
            self.carried = _CALLS[handle]
            # Tracked, so that a SavedModel holds them.
            self.carried_variables = [v.value for v in self.carried.variables]
            self.carried_owner = self.carried.owner

        def build(self, input_shape):
            self.built = True

        def call(self, inputs, training=None):
            return self._call(inputs, training)

        @tf.autograph.experimental.do_not_convert
        def _call(self, inputs, training):
            inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
            if training is None:
                training = _TRAINING.active
            # While a graph is being made, tf_keras passes a placeholder.
            training = bool(training) if isinstance(training, bool | int) else False
            outputs, losses = self.carried(inputs, training, self.clustered())
            for loss in losses:
                self.add_loss(loss)
            return outputs[0] if len(outputs) == 1 else outputs

        @property
        def trainable_weights(self):
            owner = self.carried.owner
            if owner is None or not self.trainable:
                return []
            return self._without_clustered(v.value for v in owner.trainable_variables)

        @property
        def non_trainable_weights(self):
            trainable = {id(v) for v in self.trainable_weights}
            rest = (v.value for v in self.carried.variables)
            return self._without_clustered(v for v in rest if id(v) not in trainable)

        def _without_clustered(self, variables):
            pairs = zip(self.carried.weights, self.clustered(), strict=True)
            hidden = {id(weight.value) for weight, value in pairs if value is not None}
            return [v for v in variables if id(v) not in hidden]

        def clustered(self):
            """Returns, for each weight that TFMOT works on, what it put in its place."""
            values = [
                getattr(self, f"weight_{index}", None) for index in range(len(self.carried.weights))
            ]
            return [None if isinstance(value, tf.Variable) else value for value in values]

        def get_clusterable_weights(self):
            """Returns what TFMOT clusters: it sets these attributes to the clustered tensors."""
            pairs = [(f"weight_{i}", w.value) for i, w in enumerate(self.carried.weights)]
            for name, weight in pairs:
                setattr(self, name, weight)
            return pairs

        def get_prunable_weights(self):
            """Returns what TFMOT prunes: kernels of the Keras 3 layer and its parts."""
            return [v.value for v in self.carried.weights]

        def get_config(self):
            return {**super().get_config(), "handle": self.carried.handle}

    return Carried


def slots(args: tuple, kwargs: dict, is_tensor: Callable[[Any], bool]) -> tuple:
    """Returns tensors found among arguments, and the arguments with slots in their place."""
    tensors = []

    def take(x):
        if not is_tensor(x):
            return x
        tensors.append(x)
        return Slot(len(tensors) - 1)

    args, kwargs = tree.map_structure(take, (args, kwargs))
    return tensors, args, kwargs
