"""Cross-attention."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.sequence_pooling import SequencePooling
from mm_keras.layers.wide_policy import wide_policy


@keras.saving.register_keras_serializable("mm_keras")
class CrossAttentionFusion(Fusion):
    """Each modality's positions attend to those of all the others; then pooled and averaged.

    `z_i = norm(f_i + attention(query = f_i, keys = values = [f_j, j ≠ i]))`; the output is the mean
    of the pooled `z_i` over the modalities that are present. A modality that is alone in its
    sample attends to nothing, so that `z_i = norm(f_i)`. Under `mixed_float16` the attention is
    computed in float32.

    Args:
        heads: Number of attention heads; all modalities have one width D, a multiple of it.
        dropout: Rate of dropout in the attention.
        pooling: As in `Fusion`.

    Call arguments:
        features: `{name: (B, N_i, D)}`, of two modalities or more.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.
        return_attention: Whether to return what was attended to, too.

    Output shape:
        `(B, D)`; with `return_attention`, a pair of it and `{name: (B, heads, N_i, K_i)}` float32.
        The K_i keys are those of the other modalities, in the order of the sorted names; rows sum
        to 1, or to 0 where there is none.

    Reference: Lu et al., ViLBERT, 2019 (co-attention); Tsai et al., Multimodal Transformer for
    Unaligned Multimodal Language Sequences, 2019.
    """

    minimum = 2

    def __init__(self, heads: int = 4, dropout: float = 0.0, pooling: str = "mean", **kwargs):
        super().__init__(pooling, **kwargs)
        check_int("heads", heads)
        check_number("dropout", dropout, below=1.0)
        self.heads = heads
        self.dropout = dropout

    def build_pooled(self, widths):
        width = self.check_equal_widths(widths)
        if width % self.heads:
            raise ValueError(
                f"`heads` must divide the width {width} of the features. "
                f"Received: heads={self.heads}."
            )
        shape = (None, None, width)
        self.attentions, self.norms = [], []
        for name in self.names:
            attention = keras.layers.MultiHeadAttention(
                self.heads,
                width // self.heads,
                dropout=self.dropout,
                name=f"{name}_attention",
                dtype=wide_policy(self),
            )
            attention.build(shape, shape)
            norm = keras.layers.LayerNormalization(name=f"{name}_norm", dtype=self.dtype_policy)
            norm.build(shape)
            self.attentions.append(attention)
            self.norms.append(norm)
        self.reduce = SequencePooling("mean", dtype=self.dtype_policy)

    def call(self, features, mask=None, training=None, return_attention=False):
        mask = self.given(mask)
        attended, weights = self.attend(features, mask, training, return_attention)
        fused = super().call(attended, mask)
        return (fused, weights) if return_attention else fused

    def attend(self, features, mask, training, return_attention=False):
        """Returns `{name: (B, N_i, D)}`: every z_i, not yet pooled; and what it attended to.

        That is `{name: (B, heads, N_i, K_i)}`, or of `None` without `return_attention`.
        """
        features = self.cleared(features, mask)
        masks = {
            name: ops.broadcast_to(ops.cast(m, "bool"), ops.shape(features[name])[:2])
            for name, m in mask.items()
        }
        found = {
            name: self._attend(name, features, masks, training, return_attention)
            for name in self.names
        }
        return tuple({name: pair[part] for name, pair in found.items()} for part in (0, 1))

    def _attend(self, name, features, masks, training, return_attention):
        index = self.names.index(name)
        others = [other for other in self.names if other != name]
        keys, kept = self.joined(features, masks, others)
        if kept is not None:
            kept = ops.expand_dims(kept, 1)  # (B, 1, keys)
        options = {"return_attention_scores": True} if return_attention else {}
        context = self.attentions[index](
            features[name], keys, attention_mask=kept, training=training, **options
        )
        weights = None
        if return_attention:
            context, weights = context[0], ops.cast(context[1], "float32")
        if kept is not None:
            alone = ops.logical_not(ops.any(kept, axis=-1, keepdims=True))
            context = ops.where(alone, ops.zeros_like(context), context)
            if return_attention:  # a softmax over nothing is even
                weights = ops.where(ops.expand_dims(kept, 1), weights, ops.zeros_like(weights))
        context = ops.cast(context, features[name].dtype)
        return self.norms[index](features[name] + context), weights

    def fuse(self, pooled, present):
        stacked = ops.stack([pooled[name] for name in self.names], axis=1)  # (B, M, D)
        return self.reduce(stacked, mask=self.presence_matrix(pooled, present))

    def compute_output_spec(self, features, mask=None, training=None, return_attention=False):
        fused = self._fused_spec(features)
        if not return_attention:
            return fused
        weights = {}
        for name in self.names:
            batch, positions, _ = features[name].shape
            others = [features[other].shape[1] for other in self.names if other != name]
            keys = None if None in others else sum(others)
            shape = (batch, self.heads, positions, keys)
            weights[name] = keras.KerasTensor(shape, dtype="float32")
        return fused, weights

    def _fused_spec(self, features):
        first = next(iter(features.values())).shape
        return keras.KerasTensor((first[0], first[-1]), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
