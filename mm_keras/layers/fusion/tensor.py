"""Tensor fusion."""

import keras
from keras import ops

from mm_keras._checks import check_int
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.wide_policy import wide_policy

LARGEST = 2**20


@keras.saving.register_keras_serializable("mm_keras")
class TensorFusion(Fusion):
    """Tensor fusion: the outer product of all `[1; h_m]`, so that every interaction is explicit.

    Each modality is first projected to `width`, since the product has `(1 + width)^M` entries. An
    absent modality's vector is zero, and only the `1` that stands before it remains.

    Args:
        width: Width of each modality in the product.
        pooling: As in `Fusion`.

    Output shape:
        `(B, (1 + width)^M)`: flattened in the order of the sorted names, under `mixed_float16`
        in float32: products leave the range of float16.

    Raises:
        ValueError: If the product would have more than 1,048,576 entries: use `LowRankFusion`.

    Reference: Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis, 2017.
    """

    def __init__(self, width: int = 16, pooling: str = "mean", **kwargs):
        super().__init__(pooling, **kwargs)
        check_int("width", width)
        self.width = width

    def build_pooled(self, widths):
        if (1 + self.width) ** len(widths) > LARGEST:
            raise ValueError(
                f"`width` must keep (1 + width)^M at most {LARGEST}; LowRankFusion has no such "
                f"limit. Received: width={self.width} and {len(widths)} modalities."
            )
        self.projections = [
            keras.layers.Dense(
                self.width, use_bias=False, name=f"{name}_projection", dtype=wide_policy(self)
            )
            for name in self.names
        ]
        for name, projection in zip(self.names, self.projections, strict=True):
            projection.build((None, widths[name]))

    def fuse(self, pooled, present):
        product = None
        for name, projection in zip(self.names, self.projections, strict=True):
            vector = projection(pooled[name])
            vector = ops.concatenate([ops.ones_like(vector[:, :1]), vector], axis=-1)
            if product is None:
                product = vector
            else:
                outer = ops.expand_dims(product, 2) * ops.expand_dims(vector, 1)
                product = ops.reshape(outer, (-1, product.shape[-1] * vector.shape[-1]))
        return product

    def compute_output_shape(self, features_shape, mask_shape=None):
        batch = next(iter(features_shape.values()))[0]
        return (batch, (1 + self.width) ** len(features_shape))

    def compute_output_spec(self, features, mask=None):
        shape = self.compute_output_shape({name: x.shape for name, x in features.items()})
        dtype = keras.dtype_policies.get(wide_policy(self)).compute_dtype
        return keras.KerasTensor(shape, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "width": self.width}
