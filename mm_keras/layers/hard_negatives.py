"""Pairs that don't belong together, and look as if they did."""

import keras
from keras import ops

from mm_keras._checks import check_positive
from mm_keras.layers.contrastive_learning import same_ids
from mm_keras.layers.training_only import TrainingOnly


@keras.saving.register_keras_serializable("mm_keras")
class HardNegatives(TrainingOnly, keras.layers.Layer):
    """Adds, in training, to a batch of pairs two batches of wrong ones, drawn by similarity.

    `(u_i, v_i)` is followed by `(u_i, v_j)` and by `(u_j, v_i)`: the wrong partner is drawn with
    probability `softmax_j(uᵀv / τ)` over those that are present and have another id. A head that
    follows thus learns from the hardest confusions, and `mm.layers.MatchLoss` after it cuts the
    batch back. At inference it returns what it is given, and `mm.inference_model` removes it.

    Args:
        temperature: τ, above 0: low for the hardest, high for any.
        seed: Of the draws.

    Call arguments:
        inputs: `[u, v, present]`: `(B, E)`, `(B, E)` and `(B, 1)` bool: whether both are there.
        ids: Optional, `(B, 1)` integers: rows of one id are no negatives of each other.

    Output shape:
        That of `inputs`; in training with a batch of 3B. Where a sample is not present, or has
        nobody to be confused with, the last part is false.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.HardNegatives(seed=0)
    >>> pairs = layer([np.eye(4), np.eye(4), np.ones((4, 1), "bool")], training=True)
    >>> [tuple(part.shape) for part in pairs]
    [(12, 4), (12, 4), (12, 1)]

    Reference: Li et al., Align before Fuse, 2021.
    """

    def __init__(self, temperature: float = 0.07, seed: int | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_positive("temperature", temperature)
        self.temperature = temperature
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, ids=None, training=False):
        if not training:
            return inputs
        u, v, present = inputs
        present = ops.cast(present, "bool")
        scores = ops.matmul(ops.cast(u, "float32"), ops.transpose(ops.cast(v, "float32")))
        scores = ops.stop_gradient(scores) / self.temperature
        wrong = ops.logical_not(same_ids(u, ids))
        there = ops.logical_and(present, ops.transpose(present))
        wrong = ops.logical_and(wrong, there)
        found = ops.any(wrong, axis=1, keepdims=True)  # as for rows so for columns
        other_v = ops.take(v, self._draw(scores, wrong), axis=0)
        other_u = ops.take(u, self._draw(ops.transpose(scores), wrong), axis=0)
        return [
            ops.concatenate([u, u, other_u]),
            ops.concatenate([v, other_v, v]),
            ops.concatenate([present, found, found]),
        ]

    def _draw(self, scores, allowed):
        """Returns a column for each row, drawn by the softmax of what is allowed."""
        noise = keras.random.uniform(ops.shape(scores), seed=self.seed_generator)
        noise = -ops.log(-ops.log(ops.clip(noise, 1e-7, 1 - 1e-7)))  # Gumbel
        return ops.argmax(ops.where(allowed, scores + noise, ops.full_like(scores, -1e30)), axis=1)

    def compute_output_spec(self, inputs, ids=None, training=False):
        return [keras.KerasTensor((None, *x.shape[1:]), dtype=x.dtype) for x in inputs]

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "seed": self.seed}
