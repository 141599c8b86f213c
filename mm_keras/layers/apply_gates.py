"""Gates made elsewhere, applied to features."""

import keras
from keras import ops

from mm_keras.layers.multimodal import MultimodalLayer


@keras.saving.register_keras_serializable("mm_keras")
class ApplyGates(MultimodalLayer):
    """Scales the features of each modality by a gate that was computed elsewhere: `a_m f_m`.

    `ModalityGate` scores and scales the same features. Let it score cheap ones instead and apply
    its gates here, and the gates are known before the expensive features are:
    `mm.RoutedPredictor` then runs the chosen branches alone. An absent modality comes back as
    zeros and gets no gradient.

    Call arguments:
        features: `{name: (B, N_i, D_i)}`.
        gates: `(B, M)` in the order of the sorted names.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.

    Output shape:
        That of `features`.

    Raises:
        ValueError: If there are not as many gates as modalities.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((1, 1, 2)), "audio": np.ones((1, 1, 2))}
    >>> gated = mm.layers.ApplyGates()(features, np.array([[0.25, 0.75]]))
    >>> gated["image"].numpy().tolist()
    [[[0.75, 0.75]]]

    Reference: Xue & Marculescu, Dynamic Multimodal Fusion, 2023.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, features_shape, gates_shape):
        self.names = self.check_features(features_shape)
        if len(gates_shape) != 2 or gates_shape[-1] != len(self.names):
            raise ValueError(
                f"`gates` of ApplyGates must be (B, {len(self.names)}), one for each of "
                f"{self.names}. Received shape: {tuple(gates_shape)}."
            )

    def call(self, features, gates, mask=None):
        return scale(self.cleared(features, self.given(mask)), ops.expand_dims(gates, 1))

    def compute_output_spec(self, features, gates, mask=None):
        return {name: keras.KerasTensor(x.shape, x.dtype) for name, x in features.items()}


def scale(features, gates):
    """Returns `{name: a_m f_m}` of features `{name: (B, N, D)}` and gates `(B, N or 1, M)`."""
    return {
        name: features[name] * ops.cast(gates[..., index : index + 1], features[name].dtype)
        for index, name in enumerate(sorted(features))
    }
