"""Cross-attention."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.sequence_pooling import SequencePooling


@keras.saving.register_keras_serializable("mm_keras")
class CrossAttentionFusion(Fusion):
    """Each modality's positions attend to those of all the others; then pooled and averaged.

    `z_i = norm(f_i + attention(query = f_i, keys = values = [f_j, j ≠ i]))`; the output is the mean
    of the pooled `z_i` over the modalities that are present. A modality that is alone in its
    sample attends to nothing, so that `z_i = norm(f_i)`.

    Args:
        heads: Number of attention heads; all modalities have one width D, a multiple of it.
        dropout: Rate of dropout in the attention.
        pooling: As in `Fusion`.

    Output shape:
        `(B, D)`.

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
                dtype=self.dtype_policy,
            )
            attention.build(shape, shape)
            norm = keras.layers.LayerNormalization(name=f"{name}_norm", dtype=self.dtype_policy)
            norm.build(shape)
            self.attentions.append(attention)
            self.norms.append(norm)
        self.reduce = SequencePooling("mean", dtype=self.dtype_policy)

    def call(self, features, mask=None, training=None):
        mask = self.given(mask)
        return super().call(self.attend(features, mask, training), mask)

    def attend(self, features, mask, training):
        """Returns `{name: (B, N_i, D)}`: every z_i, not yet pooled."""
        features = self.cleared(features, mask)
        masks = {
            name: ops.broadcast_to(ops.cast(m, "bool"), ops.shape(features[name])[:2])
            for name, m in mask.items()
        }
        return {name: self._attend(name, features, masks, training) for name in self.names}

    def _attend(self, name, features, masks, training):
        index = self.names.index(name)
        others = [other for other in self.names if other != name]
        keys, kept = self.joined(features, masks, others)
        if kept is not None:
            kept = ops.expand_dims(kept, 1)  # (B, 1, keys)
        context = self.attentions[index](
            features[name], keys, attention_mask=kept, training=training
        )
        if kept is not None:
            alone = ops.logical_not(ops.any(kept, axis=-1, keepdims=True))
            context = ops.where(alone, ops.zeros_like(context), context)
        return self.norms[index](features[name] + context)

    def fuse(self, pooled, present):
        stacked = ops.stack([pooled[name] for name in self.names], axis=1)  # (B, M, D)
        return self.reduce(stacked, mask=self.presence_matrix(pooled, present))

    def compute_output_shape(self, features_shape, mask_shape=None):
        first = next(iter(features_shape.values()))
        return (first[0], first[-1])

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
