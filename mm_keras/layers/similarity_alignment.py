"""What two modalities have in common, position by position."""

import math

import keras
from keras import ops

from mm_keras._checks import check_positive
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.sequence_pooling import SequencePooling, masked_softmax
from mm_keras.layers.similarity import check_pair, cleared, pair_mask


@keras.saving.register_keras_serializable("mm_keras")
class SimilarityAlignment(MultimodalLayer):
    """Multiplies each position with its counterpart in the other modality, and averages.

    The counterpart of a position is the mean of the other modality's positions, weighed by
    `softmax(λ S)` over them: the similarity matrix says which belong together, the product in what
    they agree. `[mean_i a_i ⊙ b̃_i ; mean_j b_j ⊙ ã_j]`.

    Args:
        sharpness: λ at the start, above 0; it is learnt. High: the best match alone.

    Call arguments:
        features: `{name: (B, N, D)}` of two modalities, of one width.
        similarity: `(B, N_a, N_b)`: a is the first of the sorted names.
        mask: Optional, `{name: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            What it leaves out is nobody's counterpart. Where a modality is absent, the output is
            zero.
        return_attention: Whether to return the weights of the counterparts too.

    Output shape:
        `(B, 2D)`; with `return_attention`, a pair of it and `{a: (B, N_a, N_b), b: (B, N_b, N_a)}`
        float32: each position's weights over the other modality, which sum to 1, or to 0 where
        there is none or the position is left out.

    Raises:
        ValueError: If an argument doesn't fit, or there are not two modalities of one width.
        TypeError: If `features` is no dict.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "text": np.ones((2, 6, 8))}
    >>> similarity = mm.layers.Similarity()(features)
    >>> tuple(mm.layers.SimilarityAlignment()(features, similarity).shape)
    (2, 16)

    Reference: Lee et al., Stacked Cross Attention for Image-Text Matching, 2018 (the alignment).
    """

    minimum = 2

    def __init__(self, sharpness: float = 4.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_positive("sharpness", sharpness)
        self.sharpness = sharpness

    def build(self, features_shape, similarity_shape=None):
        self.names = self.check_features(features_shape)
        check_pair(type(self).__name__, self.names)
        self.check_equal_widths({name: features_shape[name][-1] for name in self.names})
        # Its logarithm is learnt, so that it stays above 0.
        self.log_sharpness = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self.sharpness)),
            dtype="float32",
            autocast=False,
            name="log_sharpness",
        )
        self.mean = SequencePooling("mean", dtype="float32", name="mean")

    def call(self, features, similarity, mask=None, return_attention=False):
        mask = self.given(mask)
        masks = [mask.get(name) for name in self.names]
        x = [cleared(features[name], mask.get(name)) for name in self.names]
        kept = pair_mask(*masks)
        if kept is None:  # also for one position, of which Keras' softmax warns
            kept = ops.ones_like(similarity, dtype="bool")
        scores = ops.exp(self.log_sharpness) * ops.cast(similarity, "float32")
        weights = [masked_softmax(scores, kept, axis=axis) for axis in (2, 1)]
        weights[1] = ops.transpose(weights[1], (0, 2, 1))  # (B, N_b, N_a)
        counterparts = [ops.matmul(weights[0], x[1]), ops.matmul(weights[1], x[0])]
        pooled = [
            self.mean(y * other, mask=m) for y, other, m in zip(x, counterparts, masks, strict=True)
        ]
        aligned = ops.cast(ops.concatenate(pooled, axis=-1), self.compute_dtype)
        if not return_attention:
            return aligned
        return aligned, dict(zip(self.names, weights, strict=True))

    def compute_output_spec(self, features, similarity, mask=None, return_attention=False):
        a, b = sorted(features)
        batch, rows, width = features[a].shape
        aligned = keras.KerasTensor((batch, 2 * width), dtype=self.compute_dtype)
        if not return_attention:
            return aligned
        columns = features[b].shape[1]
        weights = {
            a: keras.KerasTensor((batch, rows, columns), dtype="float32"),
            b: keras.KerasTensor((batch, columns, rows), dtype="float32"),
        }
        return aligned, weights

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}
