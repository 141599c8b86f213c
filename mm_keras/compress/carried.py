"""Keras 3 layers and operations inside a tf_keras graph."""

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from mm_keras.compress.legacy import tf_keras

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
    """

    def __init__(
        self,
        op: Callable,
        args: tuple,
        kwargs: dict,
        masks: dict[int, int],
        owner: keras.layers.Layer | None,
        regularized: bool = True,
    ):
        self.op, self.args, self.kwargs, self.masks = op, args, kwargs, masks
        self.owner, self.regularized = owner, regularized
        self.handle = next(_HANDLES)
        _CALLS[self.handle] = self

    @property
    def variables(self) -> list[keras.Variable]:
        """The Keras 3 variables."""
        return [] if self.owner is None else self.owner.variables

    def __call__(self, tensors: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        # Identities, since masks are set on them: the graph's own tensors must have none.
        tensors = [tf.identity(tensor) for tensor in tensors]
        for index, mask in self.masks.items():
            tensors[index]._keras_mask = tensors[mask]  # where Keras itself keeps them

        def fill(x):
            return tensors[x.index] if isinstance(x, Slot) else x

        args, kwargs = tree.map_structure(fill, (self.args, self.kwargs))
        if self.owner is not None and self.op is self.owner:
            kwargs.setdefault("training", training)
        outputs = tree.flatten(self.op(*args, **kwargs))
        return [tf.identity(output) for output in outputs if output is not None]

    def losses(self) -> list[tf.Tensor]:
        """Returns the losses that the last call added."""
        if self.owner is None or self.op is not self.owner:
            return []
        losses = self.owner.losses
        if self.regularized:
            return losses
        count = sum(v.regularizer is not None for v in self.owner.trainable_weights)
        return losses[: len(losses) - count]


@functools.cache
def carried_layer() -> type:
    """Returns the class of the thin tf_keras layer that makes a `CarriedCall`.

    It is made on first use, since its base class is imported then.
    """
    legacy = tf_keras()

    @legacy.utils.register_keras_serializable("mm_keras")
    class Carried(legacy.layers.Layer):
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

        @tf.autograph.experimental.do_not_convert
        def call(self, inputs, training=None):
            inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
            # While a graph is being made, tf_keras passes a placeholder.
            training = bool(training) if isinstance(training, bool | int) else False
            outputs = self.carried(inputs, training)
            if training:
                for loss in self.carried.losses():
                    self.add_loss(loss)
            return outputs[0] if len(outputs) == 1 else outputs

        @property
        def trainable_weights(self):
            owner = self.carried.owner
            if owner is None or not self.trainable:
                return []
            return [v.value for v in owner.trainable_variables]

        @property
        def non_trainable_weights(self):
            trainable = {id(v) for v in self.trainable_weights}
            return [v.value for v in self.carried.variables if id(v.value) not in trainable]

        def get_prunable_weights(self):
            """Returns what TFMOT prunes: the kernels of the Keras 3 layer and its parts."""
            return [v.value for v in kernels(self.carried.owner)]

        def get_config(self):
            return {**super().get_config(), "handle": self.carried.handle}

    return Carried


def kernels(layer: keras.layers.Layer | None) -> list[keras.Variable]:
    """Returns the trainable float weights of a layer that have two axes or more."""
    if layer is None:
        return []
    return [v for v in layer.trainable_variables if len(v.shape) > 1 and "float" in v.dtype]


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
