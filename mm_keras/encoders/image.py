"""Images to positions of a feature map."""

import keras

from mm_keras.encoders.backbones import Backbone, pixel_backbone
from mm_keras.encoders.encoder import Encoder
from mm_keras.layers import PixelPreprocessing
from mm_keras.modalities.base import Pictorial


class ImageEncoder(Encoder):
    """Image → positions of the backbone's feature map. Sound, video and views build on it.

    Args:
        backbone: A backbone made before, to be shared; `None`: one of its own.
    """

    def __init__(self, spec: Pictorial, width: int, name: str, backbone: Backbone | None = None):
        super().__init__(spec, width, name)
        self.backbone = backbone or self.make_backbone(spec, f"{name}_backbone")
        self.preprocess = PixelPreprocessing(
            self.backbone.preprocessing, self.backbone.replicate, name=f"{name}_preprocessing"
        )

    @classmethod
    def make_backbone(cls, spec: Pictorial, name: str) -> Backbone:
        """Makes the backbone for the pictures that this encoder shows it."""
        # Keras on PyTorch keeps one weight for each path, and zeroes the gradient of no other.
        with keras.name_scope(name):
            return pixel_backbone(spec, cls.picture_shape(spec), name)

    @staticmethod
    def picture_shape(spec) -> tuple[int, int, int]:
        """Shape `(H, W, C)` of one picture, before preprocessing."""
        return spec.shape

    @classmethod
    def sharing_key(cls, spec: Pictorial) -> tuple | None:
        if not getattr(spec, "shared", True):  # views with a backbone each
            return None
        options = (spec.weights, spec.preprocessing, spec.stochastic_depth, spec.l2, spec.trainable)
        return (spec.backbone, cls.picture_shape(spec), spec.rematerialize, *options)

    def features(self, inputs, mask):
        return self.backbone.model(self.preprocess(inputs))
