"""Attention within each modality, and across them through a few tokens only."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable("mm_keras")
class AttentionBottleneck(MultimodalLayer):
    """Modalities exchange what fits through a few bottleneck tokens, in Transformer blocks.

    In each block, every modality attends to its own positions and to the bottleneck z,
    `[f_m; z_m] ← block_m([f_m; z])`, and the next bottleneck is the mean of what the modalities
    that are present made of it, `z ← mean_m z_m`. So what one modality knows reaches another only
    from the second block on, and only through z: with `depth=1`, or before the blocks that have
    the bottleneck, each modality is independent of the others. Attention over N positions costs
    `(N_m + tokens)²` for each modality rather than `(Σ N_m)²`.

    An absent modality has no part in z, comes back as zeros and gets no gradient; where a
    modality has some positions, the others are attended to by nobody. Blocks don't know the order
    of positions: `mm.layers.PositionEmbedding` adds it.

    Args:
        tokens: Number of bottleneck tokens.
        depth: Number of blocks with the bottleneck.
        before: Number of blocks before these, in which each modality attends to itself alone.
        heads: Number of attention heads; all modalities have one width D, a multiple of it.
        dropout: Rate of dropout in the blocks.

    Call arguments:
        features: `{name: (B, N_i, D)}`, of two modalities or more.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.

    Output shape:
        That of `features`.

    Raises:
        ValueError: If an argument, or the features' widths, don't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "audio": np.ones((2, 6, 8))}
    >>> {name: tuple(z.shape) for name, z in mm.layers.AttentionBottleneck()(features).items()}
    {'audio': (2, 6, 8), 'image': (2, 4, 8)}

    Reference: Nagrani et al., Attention Bottlenecks for Multimodal Fusion, 2021.
    """

    minimum = 2

    def __init__(
        self,
        tokens: int = 4,
        depth: int = 2,
        before: int = 0,
        heads: int = 4,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_int("tokens", tokens)
        check_int("depth", depth)
        check_int("before", before, minimum=0)
        check_int("heads", heads)
        check_number("dropout", dropout, below=1.0)
        self.tokens = tokens
        self.depth = depth
        self.before = before
        self.heads = heads
        self.dropout = dropout

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        width = self.check_equal_widths({name: features_shape[name][-1] for name in self.names})
        self.bottleneck = self.add_weight(
            shape=(self.tokens, width),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="bottleneck",
        )
        self.blocks = []  # those of the first layer in the order of the names, then of the second…
        for layer in range(1, self.before + self.depth + 1):
            for name in self.names:
                block = TransformerBlock(
                    self.heads,
                    dropout=self.dropout,
                    name=f"{name}_block_{layer}",
                    dtype=self.dtype_policy,
                )
                block.build((None, None, width))
                self.blocks.append(block)

    def call(self, features, mask=None, training=None):
        mask = self.given(mask)
        features = self.cleared(features, mask)
        masks = {
            name: ops.broadcast_to(ops.cast(m, "bool"), ops.shape(features[name])[:2])
            for name, m in mask.items()
        }
        present = self.presence(mask)
        size = ops.shape(features[self.names[0]])[0]
        bottleneck = ops.cast(self.bottleneck, self.compute_dtype)
        z = ops.broadcast_to(bottleneck[None], (size, *bottleneck.shape))
        for layer in range(self.before + self.depth):
            start = layer * len(self.names)
            blocks = self.blocks[start : start + len(self.names)]
            if layer < self.before:
                for name, block in zip(self.names, blocks, strict=True):
                    features[name] = block(features[name], mask=masks.get(name), training=training)
            else:
                features, z = self._exchange(blocks, features, masks, present, z, training)
        return self.cleared(features, mask)

    def _exchange(self, blocks, features, masks, present, z, training):
        """Returns the next features and the next bottleneck `(B, tokens, D)`."""
        after, bottlenecks, weights = {}, [], []
        everywhere = ops.ones_like(z[..., 0], dtype="bool")
        for name, block in zip(self.names, blocks, strict=True):
            mask = None
            if name in masks:
                mask = ops.concatenate([masks[name], everywhere], axis=1)
            x = block(ops.concatenate([features[name], z], axis=1), mask=mask, training=training)
            after[name] = x[:, : -self.tokens]
            bottlenecks.append(x[:, -self.tokens :])
            weights.append(present.get(name, everywhere[:, :1]))
        weights = ops.cast(ops.stack(weights, axis=1)[..., None], z.dtype)  # (B, M, 1, 1)
        total = ops.sum(ops.stack(bottlenecks, axis=1) * weights, axis=1)
        return after, total / ops.maximum(ops.sum(weights, axis=1), 1)

    def compute_output_shape(self, features_shape, mask_shape=None):
        return dict(features_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "tokens": self.tokens,
            "depth": self.depth,
            "before": self.before,
            "heads": self.heads,
            "dropout": self.dropout,
        }
