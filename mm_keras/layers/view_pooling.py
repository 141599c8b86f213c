"""Features of several views into those of one."""

import math

import keras
from keras import ops

from mm_keras._checks import check_choice, check_int, check_number
from mm_keras.layers.sequence_pooling import masked_softmax

VIEW_POOLINGS = ("max", "mean", "logsumexp", "attention", "group")
LOWEST_SCORE = 1e-6  # a view that discriminates nothing still has a weight, so that groups have one


@keras.saving.register_keras_serializable("mm_keras")
class ViewPooling(keras.layers.Layer):
    """Pools the views of an object position by position, absent ones left out.

    The order of the views has no effect, their number none on the weights: a model trained with
    twelve views serves three. With one view the layer is the identity.

    Args:
        mode: How V features x become one:

            - `"max"`: `max_v x_v`, the paper's.
            - `"mean"`: `Σ_v x_v / V`.
            - `"logsumexp"`: `log(Σ_v exp(r x_v) / V) / r`, a smooth maximum between the two.
            - `"attention"`: `Σ_v a_v x_v`, `a = softmax_v(wᵀ x̄_v)`, where x̄_v is the mean of a
              view over its positions: one weight for a whole view.
            - `"group"`: views that discriminate equally well form a group. A view's score is
              `s_v = σ(wᵀ x̄_v)`, its group `⌊s_v groups⌋`; the views of a group g are averaged, and
              the groups with the mean score ξ_g of their views as weights: `Σ_g ξ_g x̄_g / Σ_g ξ_g`.
        sharpness: r of `"logsumexp"`, above 0: towards 0 it is the mean, towards infinity the
            maximum.
        groups: Of `"group"`: into how many ranges of equal width the scores, in (0, 1), are
            divided. With one group it is the mean. While all views of every sample lie in one
            group, the scores get no gradient.

    Call arguments:
        inputs: `(B, V, D)`, `(B, V, N, D)` or `(B, V, h, w, D)`.
        mask: Optional, `(B, V)` or `(B, 1)` bool. A view that it leaves out has no weight, no
            gradient and no effect, also if it holds NaN; a sample without any view gives zeros.
        return_saliency: Whether to return the share of each view in the output too. For `"max"`
            it is the share of features whose maximum comes from the view, ties split evenly; for
            the others, the mean of the weights that the views have.

    Output shape:
        `(B, D)`, `(B, N, D)` or `(B, h, w, D)`; with `return_saliency`, a pair of it and `(B, V)`
        float32. A sample's saliency sums to 1, or to 0 without any view.

    Raises:
        ValueError: For an unknown `mode`, a `sharpness` that is not a finite number above 0,
            `groups` below 1, or inputs of fewer than three axes.

    Example:

    >>> import numpy as np
    >>> from mm_keras import layers
    >>> views = np.array([[[1.0, 5.0], [3.0, 2.0], [2.0, 4.0]]], "float32")
    >>> pooled, saliency = layers.ViewPooling("max")(views, return_saliency=True)
    >>> np.asarray(pooled).tolist(), np.asarray(saliency).tolist()
    ([[3.0, 5.0]], [[0.5, 0.5, 0.0]])

    Reference: Su et al., Multi-view Convolutional Neural Networks for 3D Shape Recognition, 2015;
    Pinheiro and Collobert, From Image-level to Pixel-level Labeling with Convolutional Networks,
    2015 (log-sum-exp); Ilse et al., Attention-based Deep Multiple Instance Learning, 2018; Feng et
    al., GVCNN: Group-View Convolutional Neural Networks for 3D Shape Recognition, 2018 (groups).
    """

    def __init__(self, mode: str = "max", sharpness: float = 1.0, groups: int = 4, **kwargs):
        super().__init__(**kwargs)
        check_choice("mode", mode, VIEW_POOLINGS)
        check_number("sharpness", sharpness)
        if not sharpness or math.isinf(sharpness):
            raise ValueError(
                "`sharpness` must be above 0 and finite: use mode='mean' or mode='max' for the "
                f"limits. Received: sharpness={sharpness}."
            )
        check_int("groups", groups)
        self.mode = mode
        self.sharpness = sharpness
        self.groups = groups
        self.supports_masking = True

    def build(self, inputs_shape):
        if len(inputs_shape) < 3:
            raise ValueError(
                "`inputs` of ViewPooling must be (B, V, …, D). "
                f"Received shape: {tuple(inputs_shape)}."
            )
        if self.mode in ("attention", "group"):
            self.score = self.add_weight(
                shape=(inputs_shape[-1], 1), initializer="glorot_uniform", name="score"
            )

    def call(self, inputs, mask=None, return_saliency=False):
        if mask is not None:
            mask = ops.reshape(
                ops.cast(mask, "bool"), (-1, mask.shape[1]) + (1,) * (len(inputs.shape) - 2)
            )
            mask = ops.broadcast_to(mask, ops.shape(inputs))
            inputs = ops.where(mask, inputs, ops.zeros_like(inputs))
        # float32: powers overflow in float16, and sums over many positions.
        x = ops.cast(inputs, "float32")
        weights = None
        if self.mode == "max":
            pooled = self._max(x, mask)
        elif self.mode == "logsumexp":
            pooled = self._logsumexp(x, mask)
        else:
            weights = self._weights(x, mask)
            pooled = ops.sum(weights * x, axis=1)
        pooled = ops.cast(pooled, self.compute_dtype)
        if not return_saliency:
            return pooled
        if weights is None:
            weights = self._weights(x, mask)
        weights = ops.broadcast_to(weights, ops.shape(x))
        return pooled, ops.mean(weights, axis=tuple(range(2, len(x.shape))))

    def _max(self, x, mask):
        if mask is None:
            return ops.max(x, axis=1)
        highest = ops.max(ops.where(mask, x, ops.full_like(x, -float("inf"))), axis=1)
        return ops.where(ops.any(mask, axis=1), highest, ops.zeros_like(highest))

    def _logsumexp(self, x, mask):
        kept = ops.ones_like(x) if mask is None else ops.cast(mask, "float32")
        highest = ops.stop_gradient(ops.expand_dims(self._max(x, mask), 1))
        above = self.sharpness * (x - highest)
        if mask is not None:  # an absent view's zero may lie far above
            above = ops.where(mask, above, ops.zeros_like(above))
        count = ops.maximum(ops.sum(kept, axis=1), 1.0)
        total = ops.sum(kept * ops.exp(above), axis=1)
        total = ops.where(total > 0, total, ops.ones_like(total))  # no view: log 1 = 0
        return ops.log(total / count) / self.sharpness + highest[:, 0]

    def _weights(self, x, mask):
        """Returns the weight of each view, which sum to 1 over the views: `(B, V, …)`."""
        if self.mode == "max":
            highest = ops.expand_dims(self._max(x, mask), 1)
            attained = ops.equal(x, highest)
            if mask is not None:
                attained = ops.logical_and(attained, mask)
            attained = ops.cast(attained, "float32")
            return attained / ops.maximum(ops.sum(attained, axis=1, keepdims=True), 1.0)
        if self.mode == "logsumexp":
            return masked_softmax(self.sharpness * x, mask, axis=1)
        if self.mode == "mean":
            kept = ops.ones_like(x) if mask is None else ops.cast(mask, "float32")
            return kept / ops.maximum(ops.sum(kept, axis=1, keepdims=True), 1.0)
        inner = tuple(range(2, len(x.shape) - 1))
        means = ops.mean(x, axis=inner, keepdims=True) if inner else x
        scores = ops.matmul(means, ops.cast(self.score, "float32"))  # (B, V, 1, …, 1)
        if mask is not None:
            mask = ops.any(mask, axis=(*inner, -1), keepdims=True)
        return (
            self._group(scores, mask)
            if self.mode == "group"
            else masked_softmax(scores, mask, axis=1)
        )

    def _group(self, scores, mask):
        """Returns the weight of each view: its group's share, divided among the group."""
        scores = ops.maximum(ops.sigmoid(scores), LOWEST_SCORE)
        number = ops.minimum(ops.cast(self.groups * scores, "int32"), self.groups - 1)
        members = ops.one_hot(number[..., 0], self.groups, dtype="float32")  # (B, V, 1, …, groups)
        if mask is not None:
            members = members * ops.cast(mask, "float32")
        sizes = ops.sum(members, axis=1, keepdims=True)
        shares = ops.sum(members * scores, axis=1, keepdims=True) / ops.maximum(sizes, 1.0)
        total = ops.sum(shares, axis=-1, keepdims=True)
        shares = shares / ops.where(total > 0, total, ops.ones_like(total))
        return ops.sum(members * shares / ops.maximum(sizes, 1.0), axis=-1, keepdims=True)

    def compute_mask(self, inputs, previous_mask=None):
        return None  # the views are gone

    def compute_output_spec(self, inputs, mask=None, return_saliency=False):
        batch, views, *rest = inputs.shape
        pooled = keras.KerasTensor((batch, *rest), dtype=self.compute_dtype)
        if not return_saliency:
            return pooled
        return pooled, keras.KerasTensor((batch, views), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "mode": self.mode,
            "sharpness": self.sharpness,
            "groups": self.groups,
        }
