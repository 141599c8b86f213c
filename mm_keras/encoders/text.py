"""Token ids to positions of a text."""

import keras

from mm_keras.encoders.backbones import adopt, check_stands_for_no_model, set_trainable
from mm_keras.encoders.encoder import Encoder
from mm_keras.layers import PaddingMask, PositionEmbedding, TransformerBlock, ZeroMasked
from mm_keras.modalities import Text


class TextEncoder(Encoder):
    """Token ids → one position a token; padding is masked in every layer and in the fusion.

    Args:
        backbone: A model made before, to be shared; `None`: one of its own.
    """

    def __init__(self, spec: Text, width: int, name: str, backbone: keras.Model | None = None):
        super().__init__(spec, width, name)
        self.padding = PaddingMask(name=f"{name}_mask")
        self.backbone = backbone or self.make_backbone(spec, f"{name}_backbone")

    @staticmethod
    def make_backbone(spec: Text, name: str) -> keras.Model:
        """Makes the model from `{"token_ids", "padding_mask"}` to `(B, T, C)`."""
        if isinstance(spec.backbone, keras.Model):
            model = adopt(spec.backbone, name)
        else:
            check_stands_for_no_model(spec.backbone)
            with keras.name_scope(name):  # as in ImageEncoder
                model = text_backbone(spec, name)
        set_trainable(model, spec.trainable)
        return model

    @staticmethod
    def sharing_key(spec: Text) -> tuple | None:
        sizes = (spec.max_tokens, spec.vocabulary_size, spec.embedding, spec.depth, spec.heads)
        options = (spec.kernel_size, spec.stochastic_depth, spec.l2, spec.trainable)
        return (spec.backbone, *sizes, *options)

    def mask(self, inputs):
        return self.padding(inputs)

    def features(self, inputs, mask):
        names = self.backbone.input if isinstance(self.backbone.input, dict) else None
        if names is None:
            return self._sequence(self.backbone(inputs))
        known = {"token_ids": inputs, "padding_mask": mask, "segment_ids": None}
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ValueError(
                f"`backbone` of a text must take token ids, or a dict of {sorted(known)}. "
                f"Received a model that also takes: {unknown}."
            )
        if "segment_ids" in names:  # one segment: all zeros
            known["segment_ids"] = keras.layers.Subtract(name=f"{self.name}_segments")(
                [inputs, inputs]
            )
        return self._sequence(self.backbone({name: known[name] for name in names}))

    def _sequence(self, outputs):
        """Returns the tokens' features; BERT-like models return pooled ones beside them."""
        if isinstance(outputs, dict):
            if "sequence_output" not in outputs:
                raise ValueError(
                    "`backbone` of a text must return a tensor, or a dict with 'sequence_output'. "
                    f"Received a dict of: {sorted(outputs)}."
                )
            outputs = outputs["sequence_output"]
        tokens = self.spec.max_tokens
        if len(outputs.shape) != 3 or outputs.shape[1] not in (None, tokens):
            raise ValueError(
                f"`backbone` of a text must return features (B, {tokens}, C), one vector a token. "
                f"Received: {tuple(outputs.shape)}."
            )
        return outputs


def text_backbone(spec: Text, name: str) -> keras.Model:
    """Makes one of this package's own text backbones.

    Args:
        spec: Names the kind and its sizes.
        name: Of the model.

    Returns:
        A model from `{"token_ids": (B, T) int32, "padding_mask": (B, T) bool}` to `(B, T, C)`.
    """
    regularizer = keras.regularizers.L2(spec.l2) if spec.l2 else None
    ids = keras.Input((spec.max_tokens,), dtype="int32", name="token_ids")
    mask = keras.Input((spec.max_tokens,), dtype="bool", name="padding_mask")
    x = keras.layers.Embedding(spec.vocabulary_size, spec.embedding, name="words")(ids)
    if spec.backbone == "Transformer":
        x = PositionEmbedding(name="positions")(x)
    for depth in range(1, spec.depth + 1):
        if spec.backbone == "Conv1D":
            # Padding must be zero, not an embedding of it, where a kernel reaches beyond the text.
            x = ZeroMasked(name=f"mask_{depth}")(x, mask)
            x = keras.layers.Conv1D(
                spec.embedding,
                spec.kernel_size,
                padding="same",
                activation="relu",
                kernel_regularizer=regularizer,
                name=f"conv_{depth}",
            )(x)
        elif spec.backbone == "BiGRU":
            x = keras.layers.Bidirectional(
                keras.layers.GRU(
                    spec.embedding, return_sequences=True, kernel_regularizer=regularizer
                ),
                name=f"bigru_{depth}",
            )(x, mask=mask)
        elif spec.backbone == "Transformer":
            x = TransformerBlock(
                spec.heads, stochastic_depth=spec.stochastic_depth, name=f"transformer_{depth}"
            )(x, mask=mask)
    if spec.backbone == "Transformer":
        x = keras.layers.LayerNormalization(name="norm")(x)
    x = ZeroMasked(name="tokens")(x, mask)
    return keras.Model({"token_ids": ids, "padding_mask": mask}, x, name=name)
