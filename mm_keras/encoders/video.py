"""Video to positions in time."""

import keras

from mm_keras.encoders.image import ImageEncoder
from mm_keras.layers import FoldBatch, PositionEmbedding, TransformerBlock, UnfoldBatch
from mm_keras.modalities import Video

HEADS = 4


class VideoEncoder(ImageEncoder):
    """Video → one position a frame, or one in all; the frames go through the backbone together."""

    def __init__(self, spec: Video, width: int, name: str, backbone=None):
        super().__init__(spec, width, name, backbone)
        self.fold = FoldBatch(name=f"{name}_fold")
        self.pool = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")
        self.unfold = UnfoldBatch(spec.frames, name=f"{name}_unfold")
        self.temporal = list(self._temporal_layers())

    def _temporal_layers(self):
        spec, name = self.spec, self.name
        if spec.temporal == "mean":
            yield keras.layers.GlobalAveragePooling1D(keepdims=True, name=f"{name}_mean")
        elif spec.temporal == "gru":
            yield keras.layers.GRU(self.width, return_sequences=True, name=f"{name}_gru")
        elif spec.temporal == "attention":
            if self.width % HEADS:
                raise ValueError(
                    f"`width` must be a multiple of {HEADS} for temporal='attention'. "
                    f"Received: width={self.width}."
                )
            yield PositionEmbedding(name=f"{name}_position")
            yield TransformerBlock(HEADS, name=f"{name}_attention")

    def features(self, inputs, mask):
        x = super().features(self.fold(inputs), mask)  # (B·T, h, w, C)
        return self.unfold(self.pool(x) if len(x.shape) == 4 else x)

    def project(self, x):
        x = super().project(x)
        for layer in self.temporal:
            x = layer(x)
        return x
