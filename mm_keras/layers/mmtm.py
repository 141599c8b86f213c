"""The multimodal transfer module."""

import keras
from keras import ops

from mm_keras._checks import check_int
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.sequence_pooling import SequencePooling


@keras.saving.register_keras_serializable("mm_keras")
class MMTM(MultimodalLayer):
    """Multimodal transfer module: all modalities together recalibrate the channels of each.

    `Z = relu(W [mean(f_1); …; mean(f_M)] + b)`, `u_m = 2σ(W_m Z + b_m) ⊙ f_m`. W_m and b_m start
    at zero, where the layer is the identity. Widths and numbers of positions may differ. An absent
    modality counts as zeros in the mean, comes back as zeros, and gets no gradient.

    Args:
        ratio: The width of Z is the sum of all widths divided by this.

    Call arguments:
        features: `{name: (B, N_i, D_i)}`, of two modalities or more.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.

    Output shape:
        That of `features`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "audio": np.ones((2, 6, 4))}
    >>> bool(np.all(mm.layers.MMTM()(features)["image"] == 1))
    True

    Reference: Joze et al., MMTM: Multimodal Transfer Module for CNN Fusion, 2020. Its published
    code leaves out the factor 2, so that features start out halved.
    """

    minimum = 2

    def __init__(self, ratio: int = 4, **kwargs):
        super().__init__(**kwargs)
        check_int("ratio", ratio)
        self.ratio = ratio

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        widths = [features_shape[name][-1] for name in self.names]
        units = max(sum(widths) // self.ratio, 1)
        self.squeeze = keras.layers.Dense(
            units, activation="relu", name="squeeze", dtype=self.dtype_policy
        )
        self.squeeze.build((None, sum(widths)))
        self.pool = SequencePooling("mean", dtype=self.dtype_policy)
        self.excitations = []
        for name, width in zip(self.names, widths, strict=True):
            excitation = keras.layers.Dense(
                width,
                kernel_initializer="zeros",
                name=f"{name}_excitation",
                dtype=self.dtype_policy,
            )
            excitation.build((None, units))
            self.excitations.append(excitation)

    def call(self, features, mask=None):
        mask = self.given(mask)
        pooled = [self.pool(features[name], mask=mask.get(name)) for name in self.names]
        joint = self.squeeze(ops.concatenate(pooled, axis=-1))
        features = self.cleared(features, mask)
        return {
            name: features[name] * ops.expand_dims(2.0 * ops.sigmoid(excitation(joint)), 1)
            for name, excitation in zip(self.names, self.excitations, strict=True)
        }

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}
