"""Views of an object to positions of all their feature maps."""

import keras

from mm_keras.encoders.image import ImageEncoder
from mm_keras.layers import FoldBatch, RepeatMask, SliceAxis, UnfoldBatch
from mm_keras.modalities import Views


class ViewsEncoder(ImageEncoder):
    """Views → views × positions of the backbone's feature map, in the order of the views."""

    def __init__(self, spec: Views, width: int, name: str, backbone=None):
        super().__init__(spec, width, name, backbone)
        self.fold = FoldBatch(name=f"{name}_fold")
        self.unfold = UnfoldBatch(spec.count, name=f"{name}_unfold")
        self.others = (
            []
            if spec.shared
            else [
                self.make_backbone(spec, f"{name}_backbone_{view}").model
                for view in range(1, spec.count)
            ]
        )
        self.slices = [
            SliceAxis(view, view + 1, squeeze=True, name=f"{name}_view_{view}")
            for view in range(spec.count)
        ]
        self.join = keras.layers.Concatenate(axis=1, name=f"{name}_views")
        self.flatten = self.repeat = None

    def features(self, inputs, mask):
        if self.spec.shared:
            x = self.unfold(super().features(self.fold(inputs), mask))  # (B, V, h, w, C)
        else:
            pixels = self.preprocess(inputs)
            models = [self.backbone.model, *self.others]
            views = [take(pixels) for take in self.slices]
            x = self.join([model(view) for model, view in zip(models, views, strict=True)])
        if self.flatten is None:
            self.flatten = keras.layers.Reshape((-1, x.shape[-1]), name=f"{self.name}_positions")
        return self.flatten(x)  # (B, V·positions, C)

    def presence(self, present, features):
        if present is None or present.shape[1] == 1:
            return present
        if self.repeat is None:
            positions = features.shape[1] // self.spec.count
            self.repeat = RepeatMask(positions, name=f"{self.name}_present_positions")
        return self.repeat(present)
