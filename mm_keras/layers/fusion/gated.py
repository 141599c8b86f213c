"""The gated multimodal unit."""

import keras
from keras import ops

from mm_keras._checks import check_int
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.sequence_pooling import masked_softmax


@keras.saving.register_keras_serializable("mm_keras")
class GatedFusion(Fusion):
    """Gated multimodal unit: a gate for each modality and unit, computed from all of them.

    `h_m = tanh(W_m x_m + b_m)`, `z = W_z [x_1; …; x_M] + b_z`. Two modalities share one gate,
    `h = g h_1 + (1 − g) h_2` with `g = σ(z)`; more have independent gates `h = Σ σ(z_m) h_m`. The
    gate of an absent modality is 0; of two, the other one's is then 1. The gates start at one
    half.

    Args:
        width: Width D of the output; `None`: that of the first modality.
        pooling: As in `Fusion`.

    Output shape:
        `(B, D)`.

    Reference: Arevalo et al., Gated Multimodal Units for Information Fusion, 2017.
    """

    def __init__(self, width: int | None = None, pooling: str = "mean", **kwargs):
        super().__init__(pooling, **kwargs)
        if width is not None:
            check_int("width", width)
        self.width = width

    def build_pooled(self, widths):
        width = self.width or widths[self.names[0]]
        self.transforms = [
            keras.layers.Dense(
                width, activation="tanh", name=f"{name}_transform", dtype=self.dtype_policy
            )
            for name in self.names
        ]
        for name, transform in zip(self.names, self.transforms, strict=True):
            transform.build((None, widths[name]))
        gates = 1 if len(self.names) == 2 else len(self.names)
        self.gate = keras.layers.Dense(
            gates * width, kernel_initializer="zeros", name="gate", dtype=self.dtype_policy
        )
        self.gate.build((None, sum(widths.values())))

    def fuse(self, pooled, present):
        mask = self.presence_matrix(pooled, present)
        hidden = ops.stack(
            [
                transform(pooled[name])
                for name, transform in zip(self.names, self.transforms, strict=True)
            ],
            axis=1,
        )  # (B, M, D)
        if mask is not None:
            mask = ops.expand_dims(mask, -1)
        return ops.sum(self._gates(pooled, mask) * hidden, axis=1)

    def _gates(self, pooled, mask):
        """Returns gates `(B, M, D)`."""
        z = self.gate(ops.concatenate([pooled[name] for name in self.names], axis=-1))
        if len(self.names) == 2:
            pair = ops.stack([z, ops.zeros_like(z)], axis=1)  # softmax([z, 0]) = [σ(z), 1 − σ(z)]
            return masked_softmax(pair, mask, axis=1)
        gates = ops.sigmoid(ops.reshape(z, (-1, len(self.names), z.shape[-1] // len(self.names))))
        return gates if mask is None else ops.where(mask, gates, ops.zeros_like(gates))

    def compute_output_shape(self, features_shape, mask_shape=None):
        first = features_shape[sorted(features_shape)[0]]
        return (first[0], self.width or first[-1])

    def get_config(self):
        return {**super().get_config(), "width": self.width}
