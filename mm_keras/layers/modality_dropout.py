"""Whole modalities dropped in training."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.training_only import TrainingOnly


@keras.saving.register_keras_serializable("mm_keras")
class ModalityDropout(TrainingOnly, keras.layers.Layer):
    """Marks whole modalities of a sample as absent, at random, in training.

    It works on masks, so that a dropped modality is absent in the sense of every fusion layer:
    no weight, no gradient. Of the modalities that a sample has, at least one stays: where all
    would be dropped, one of them, drawn evenly, is kept. At inference it does nothing, and
    `mm.inference_model` removes it.

    Args:
        rate: Probability that a modality is dropped, in [0, 1).
        seed: Of the random numbers.

    Call arguments:
        inputs: `{name: mask}`, each `(B, N)` or `(B, 1)` bool.

    Output shape:
        That of `inputs`.

    Reference: Neverova et al., ModDrop: adaptive multi-modal gesture recognition, 2015.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_number("rate", rate, below=1.0)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        names = sorted(inputs)
        present = ops.stack([ops.any(inputs[name], axis=1) for name in names], axis=1)  # (B, M)
        kept = keep_some(present, self.rate, self.seed_generator)
        return {
            name: ops.logical_and(inputs[name], kept[:, index : index + 1])
            for index, name in enumerate(names)
        }

    def compute_output_spec(self, inputs, training=False):
        return {name: keras.KerasTensor(mask.shape, dtype="bool") for name, mask in inputs.items()}

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def keep_some(present, rate: float, seed: keras.random.SeedGenerator):
    """Draws which of the entries `(B, M)` of each sample are kept, `(B, M)` bool.

    Each is dropped with probability `rate`. Where all that are present would be, one of them, drawn
    evenly, is kept.
    """
    draws = keras.random.uniform(ops.shape(present), seed=seed)
    drawn = ops.where(present, draws, -ops.ones_like(draws))
    last = ops.one_hot(ops.argmax(drawn, axis=1), present.shape[1], dtype="bool")
    return ops.logical_or(draws >= rate, last)
