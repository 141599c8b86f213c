"""The contract that every fusion layer keeps."""

from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.sequence_pooling import SequencePooling


class Fusion(MultimodalLayer):
    """Joins the feature sequences of several modalities.

    The contract, for this package's layers and yours:

    - `layer(features, mask=None)` takes `features`, `{name: (B, N_i, D_i)}`, and `mask`,
      `{name: (B, N_i) or (B, 1) bool}`; a name left out of `mask` is present throughout;
    - it returns `(B, D)`, or `(B, N, D)`;
    - a modality without any position, in a sample, is absent there: no weight, no gradient, no
      effect on the output. A sample without any modality gives a finite output.

    A subclass that works on pooled features defines `build_pooled` and `fuse`; one that works on
    the sequences themselves overrides `build` and `call`.

    Args:
        pooling: How a modality's positions become one vector: `"mean"`, `"max"`, `"attention"`.

    Call arguments:
        features: `{name: (B, N_i, D_i)}`.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.

    Output shape:
        `(B, D)`.
    """

    def __init__(self, pooling: str = "mean", **kwargs):
        super().__init__(**kwargs)
        self.pooling = pooling
        SequencePooling(pooling)  # raises for an unknown mode

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        self.poolings = [
            SequencePooling(self.pooling, dtype=self.dtype_policy, name=f"{name}_pooling")
            for name in self.names
        ]
        for name, pooling in zip(self.names, self.poolings, strict=True):
            pooling.build(features_shape[name])
        self.build_pooled({name: features_shape[name][-1] for name in self.names})

    def build_pooled(self, widths: dict[str, int]) -> None:
        """Creates weights for pooled features of the given widths D_i."""

    def call(self, features, mask=None):
        mask = self.given(mask)
        pooled = {
            name: pooling(features[name], mask=mask.get(name))
            for name, pooling in zip(self.names, self.poolings, strict=True)
        }
        return self.fuse(pooled, self.presence(mask))

    def fuse(self, pooled, present):
        """Joins pooled features.

        Args:
            pooled: `{name: (B, D_i)}`, zeros where absent.
            present: `{name: (B, 1) bool}`, or `{}` where every modality is present; a name left
                out is present.

        Returns:
            `(B, D)`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `fuse(self, pooled, present)`, which returns "
            "(B, D) of {name: (B, D_i)}, or override `build` and `call`, to work on the sequences "
            "themselves: see docs/extend.md."
        )

    def get_config(self):
        return {**super().get_config(), "pooling": self.pooling}
