"""Pooling of all positions of all modalities at once."""

import keras

from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.sequence_pooling import SequencePooling


@keras.saving.register_keras_serializable("mm_keras")
class JointFusion(Fusion):
    """Pools all positions of all modalities as one sequence.

    With `"attention"`, one learnt score weighs every position against all others, whatever their
    modality, so that a modality counts as much as its positions do in that sample. All modalities
    have one width D. With `"mean"`, a modality counts as many times as it has positions.

    Args:
        pooling: As in `Fusion`.

    Output shape:
        `(B, D)`.

    Reference: Ilse et al., Attention-based Deep Multiple Instance Learning, 2018.
    """

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        width = self.check_equal_widths({n: features_shape[n][-1] for n in self.names})
        self.pool = SequencePooling(self.pooling, dtype=self.dtype_policy, name="joint_pooling")
        self.pool.build((None, None, width))

    def call(self, features, mask=None):
        sequence, kept = self.joined(features, self.given(mask), self.names)
        return self.pool(sequence, mask=kept)

    def compute_output_shape(self, features_shape, mask_shape=None):
        first = next(iter(features_shape.values()))
        return (first[0], first[-1])
