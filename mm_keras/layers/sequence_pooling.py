"""A feature sequence into one vector."""

import keras
from keras import ops

from mm_keras._checks import check_choice

POOLINGS = ("mean", "max", "attention")


@keras.saving.register_keras_serializable("mm_keras")
class SequencePooling(keras.layers.Layer):
    """Pools the positions of a feature sequence, those that a mask leaves out left out.

    Args:
        mode: `"mean"`, `"max"`, or `"attention"`: a learnt score weighs the positions.

    Call arguments:
        inputs: `(B, N, D)`.
        mask: Optional, `(B, N)` or `(B, 1)` bool. A sample without any position gives zeros.
        return_attention: Whether to return the weights of the positions too; for `"attention"`.

    Output shape:
        `(B, D)`; with `return_attention`, a pair of it and `(B, N)` float32, whose rows sum to 1,
        or to 0 without any position.
    """

    def __init__(self, mode: str = "mean", **kwargs):
        super().__init__(**kwargs)
        check_choice("mode", mode, POOLINGS)
        self.mode = mode
        self.supports_masking = True

    def build(self, inputs_shape):
        if self.mode == "attention":
            self.score = self.add_weight(
                shape=(inputs_shape[-1], 1), initializer="glorot_uniform", name="score"
            )

    def call(self, inputs, mask=None, return_attention=False):
        if return_attention:
            self._check_attends()
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), -1)
            inputs = ops.where(mask, inputs, ops.zeros_like(inputs))
        # float32: sums over many positions would overflow in float16.
        x = ops.cast(inputs, "float32")
        weights = None
        if self.mode == "max":
            pooled = masked_max(x, mask, axis=1)
        elif self.mode == "mean":
            pooled = self._mean(x, mask)
        else:
            score = ops.matmul(x, ops.cast(self.score, "float32"))
            weights = masked_softmax(score, mask, axis=1)
            pooled = ops.sum(weights * x, axis=1)
        pooled = ops.cast(pooled, self.compute_dtype)
        return (pooled, weights[..., 0]) if return_attention else pooled

    def _mean(self, x, mask):
        if mask is None:
            return ops.mean(x, axis=1)
        counted = ops.broadcast_to(ops.cast(mask, "float32"), ops.shape(x[..., :1]))
        return ops.sum(x, axis=1) / ops.maximum(ops.sum(counted, axis=1), 1.0)

    def _check_attends(self):
        if self.mode != "attention":
            raise ValueError(
                "`return_attention` must be False for a pooling without attention. "
                f"Received: return_attention=True, mode={self.mode!r}."
            )

    def compute_mask(self, inputs, previous_mask=None):
        return None  # the positions are gone

    def compute_output_spec(self, inputs, mask=None, return_attention=False):
        batch, positions, width = inputs.shape
        pooled = keras.KerasTensor((batch, width), dtype=self.compute_dtype)
        if not return_attention:
            return pooled
        self._check_attends()
        return pooled, keras.KerasTensor((batch, positions), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


def masked_max(x, mask=None, axis: int = -1):
    """Maximum over the entries that `mask` keeps; where it keeps none, 0.

    Args:
        x: A float tensor.
        mask: A bool tensor that broadcasts to `x`, or `None`.
        axis: The axis that goes away.
    """
    if mask is None:
        return ops.max(x, axis=axis)
    highest = ops.max(ops.where(mask, x, ops.full_like(x, -float("inf"))), axis=axis)
    return ops.where(ops.any(mask, axis=axis), highest, ops.zeros_like(highest))


def masked_softmax(scores, mask=None, axis: int = -1):
    """Softmax over the entries that `mask` keeps; the others, and rows without any, give 0.

    Args:
        scores: A float tensor.
        mask: A bool tensor that broadcasts to `scores`, or `None`.
        axis: The axis that sums to 1.
    """
    if mask is None and scores.shape[axis] == 1:  # Keras warns of a softmax over one
        mask = ops.ones_like(scores, dtype="bool")
    if mask is None:
        return ops.softmax(scores, axis=axis)
    mask = ops.broadcast_to(mask, ops.shape(scores))
    # A constant instead would outweigh scores that lie below it.
    lowest = ops.stop_gradient(ops.min(scores, axis=axis, keepdims=True))
    scores = ops.where(mask, scores, lowest)
    highest = ops.stop_gradient(ops.max(scores, axis=axis, keepdims=True))
    powers = ops.where(mask, ops.exp(scores - highest), ops.zeros_like(scores))
    total = ops.sum(powers, axis=axis, keepdims=True)
    return powers / ops.where(total > 0, total, ops.ones_like(total))
