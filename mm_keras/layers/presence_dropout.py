"""What layers have in common that drop whole modalities, or views, in training."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.training_only import TrainingOnly


class PresenceDropout(TrainingOnly, keras.layers.Layer):
    """Draws what is kept of what a sample has; a subclass applies it to masks.

    Args:
        rate: Probability that an entry is dropped, in [0, 1).
        seed: Of the random numbers.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_number("rate", rate, below=1.0)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def keep_some(self, present):
        """Returns which entries `(B, M)` of each sample are kept, `(B, M)` bool.

        Where all that are present would be dropped, one of them, drawn evenly, is kept.
        """
        draws = keras.random.uniform(ops.shape(present), seed=self.seed_generator)
        drawn = ops.where(present, draws, -ops.ones_like(draws))
        last = ops.one_hot(ops.argmax(drawn, axis=1), present.shape[1], dtype="bool")
        return ops.logical_or(draws >= self.rate, last)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
