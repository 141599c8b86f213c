"""Low-rank bilinear fusion."""

import keras
from keras import ops

from mm_keras._checks import check_int
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.wide_policy import wide_policy


@keras.saving.register_keras_serializable("mm_keras")
class LowRankFusion(Fusion):
    """Low-rank multimodal fusion: the tensor product of all modalities, never formed.

    `h = Σ_r w_r ∏_m [1; h_m] F_m^r + b`, the contraction of the outer product of all `[1; h_m]`
    with a weight tensor of rank R, at a cost linear in the number of modalities. An absent
    modality's factor is 1: the layer is then the same fusion of the modalities that are there.

    Args:
        width: Width D of the output; `None`: that of the first modality.
        rank: Number R of rank-one terms.
        pooling: As in `Fusion`.

    Output shape:
        `(B, D)`, under `mixed_float16` in float32: products leave the range of float16.

    Reference: Liu et al., Efficient Low-rank Multimodal Fusion with Modality-Specific Factors,
    2018.
    """

    def __init__(self, width: int | None = None, rank: int = 8, pooling: str = "mean", **kwargs):
        super().__init__(pooling, **kwargs)
        if width is not None:
            check_int("width", width)
        check_int("rank", rank)
        self.width = width
        self.rank = rank

    def build_pooled(self, widths):
        width = self.width or widths[self.names[0]]
        self.factors = [
            self.add_weight(
                shape=(widths[name], self.rank, width),
                initializer=keras.initializers.VarianceScaling(mode="fan_in"),
                autocast=False,
                name=f"{name}_factor",
            )
            for name in self.names
        ]
        # The rows of the 1 in [1; h_m]: at 1, no factor starts by cancelling the others.
        self.offsets = [
            self.add_weight(
                shape=(self.rank, width),
                initializer="ones",
                autocast=False,
                name=f"{name}_offset",
            )
            for name in self.names
        ]
        self.rank_weights = self.add_weight(
            shape=(self.rank,),
            initializer=keras.initializers.Constant(1.0 / self.rank),
            autocast=False,
            name="rank_weights",
        )
        self.bias = self.add_weight(
            shape=(width,), initializer="zeros", autocast=False, name="bias"
        )

    def fuse(self, pooled, present):
        dtype = self._fused_dtype
        product = 1.0
        for name, factor, offset in zip(self.names, self.factors, self.offsets, strict=True):
            factor, offset = ops.cast(factor, dtype), ops.cast(offset, dtype)
            term = (
                ops.tensordot(ops.cast(pooled[name], dtype), factor, axes=1) + offset
            )  # (B, R, D)
            if name in present:
                term = ops.where(ops.expand_dims(present[name], -1), term, ops.ones_like(term))
            product = product * term
        weights, bias = ops.cast(self.rank_weights, dtype), ops.cast(self.bias, dtype)
        return ops.einsum("brd,r->bd", product, weights) + bias

    @property
    def _fused_dtype(self):
        return keras.dtype_policies.get(wide_policy(self)).compute_dtype

    def compute_output_shape(self, features_shape, mask_shape=None):
        first = features_shape[sorted(features_shape)[0]]
        return (first[0], self.width or first[-1])

    def compute_output_spec(self, features, mask=None):
        shape = self.compute_output_shape({name: x.shape for name, x in features.items()})
        return keras.KerasTensor(shape, dtype=self._fused_dtype)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "rank": self.rank}
