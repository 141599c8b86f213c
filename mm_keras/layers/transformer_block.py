"""Self-attention and an MLP, with pre-normalisation."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number


@keras.saving.register_keras_serializable("mm_keras")
class TransformerBlock(keras.layers.Layer):
    """A pre-norm Transformer encoder block: positions attend to each other, then an MLP.

    Args:
        heads: Number of attention heads; the width D is a multiple of it.
        expansion: Width of the MLP in multiples of D.
        dropout: Rate of dropout in attention and MLP.
        stochastic_depth: Rate at which each residual branch is dropped, per sample (Huang 2016).

    Call arguments:
        inputs: `(B, N, D)`.
        mask: Optional, `(B, N)` or `(B, 1)` bool: positions that are attended to.

    Output shape:
        `(B, N, D)`; positions that the mask leaves out hold values of no meaning.

    Reference: Vaswani et al., Attention Is All You Need, 2017; Xiong et al., On Layer
    Normalization in the Transformer Architecture, 2020.
    """

    def __init__(
        self,
        heads: int = 4,
        expansion: int = 2,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_int("heads", heads)
        check_int("expansion", expansion)
        check_number("dropout", dropout, below=1.0)
        check_number("stochastic_depth", stochastic_depth, below=1.0)
        self.supports_masking = True
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth

    def build(self, inputs_shape):
        width = inputs_shape[-1]
        if width % self.heads:
            raise ValueError(
                f"`heads` must divide the width {width} of the inputs. "
                f"Received: heads={self.heads}."
            )
        self.attention_norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
        self.attention = keras.layers.MultiHeadAttention(
            self.heads, width // self.heads, dropout=self.dropout, dtype=self.dtype_policy
        )
        self.mlp_norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
        self.expand = keras.layers.Dense(
            self.expansion * width, activation="gelu", dtype=self.dtype_policy
        )
        self.contract = keras.layers.Dense(width, dtype=self.dtype_policy)
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.drop_branch = keras.layers.Dropout(
            self.stochastic_depth, noise_shape=(None, 1, 1), dtype=self.dtype_policy
        )
        self.attention_norm.build(inputs_shape)
        self.attention.build(inputs_shape, inputs_shape)
        self.mlp_norm.build(inputs_shape)
        self.expand.build(inputs_shape)
        self.contract.build((*inputs_shape[:-1], self.expansion * width))

    def call(self, inputs, mask=None, training=None):
        keys = None if mask is None else ops.expand_dims(mask, 1)  # (B, 1, N)
        x = self.attention_norm(inputs)
        x = self.attention(x, x, attention_mask=keys, training=training)
        x = inputs + self.drop_branch(x, training=training)
        y = self.contract(self.expand(self.mlp_norm(x)))
        return x + self.drop_branch(self.drop(y, training=training), training=training)

    def compute_output_shape(self, inputs_shape, mask_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "expansion": self.expansion,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
        }
