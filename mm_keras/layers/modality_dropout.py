"""Whole modalities dropped in training."""

import keras
from keras import ops

from mm_keras.layers.presence_dropout import PresenceDropout


@keras.saving.register_keras_serializable("mm_keras")
class ModalityDropout(PresenceDropout):
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

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        names = sorted(inputs)
        present = ops.stack([ops.any(inputs[name], axis=1) for name in names], axis=1)  # (B, M)
        kept = self.keep_some(present)
        return {
            name: ops.logical_and(inputs[name], kept[:, index : index + 1])
            for index, name in enumerate(names)
        }

    def compute_output_spec(self, inputs, training=False):
        return {name: keras.KerasTensor(mask.shape, dtype="bool") for name, mask in inputs.items()}
