"""Cross-attention that keeps the positions."""

import keras

from mm_keras.layers.fusion.cross_attention import CrossAttentionFusion


@keras.saving.register_keras_serializable("mm_keras")
class CrossAttention(CrossAttentionFusion):
    """Each modality's positions attend to those of all the others, and remain positions.

    `z_i = norm(f_i + attention(query = f_i, keys = values = [f_j, j ≠ i]))`, which
    `CrossAttentionFusion` pools and averages: this is the part before that. What a mask leaves
    out is attended to by nobody, gets no gradient and comes back as zeros.

    Args:
        heads: Number of attention heads; all modalities have one width D, a multiple of it.
        dropout: Rate of dropout in the attention.

    Call arguments:
        features: `{name: (B, N_i, D)}`, of two modalities or more.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.
        return_attention: Whether to return what was attended to, too.

    Output shape:
        That of `features`; with `return_attention`, a pair of it and what `CrossAttentionFusion`
        returns then.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "audio": np.ones((2, 6, 8))}
    >>> {name: tuple(z.shape) for name, z in mm.layers.CrossAttention()(features).items()}
    {'audio': (2, 6, 8), 'image': (2, 4, 8)}

    Reference: Lu et al., ViLBERT, 2019 (co-attention).
    """

    def __init__(self, heads: int = 4, dropout: float = 0.0, **kwargs):
        super().__init__(heads, dropout, pooling="mean", **kwargs)

    def call(self, features, mask=None, training=None, return_attention=False):
        mask = self.given(mask)
        attended, weights = self.attend(features, mask, training, return_attention)
        attended = self.cleared(attended, mask)
        return (attended, weights) if return_attention else attended

    def _fused_spec(self, features):
        return {
            name: keras.KerasTensor(x.shape, dtype=self.compute_dtype)
            for name, x in features.items()
        }

    def get_config(self):
        config = super().get_config()
        del config["pooling"]  # nothing is pooled
        return config
