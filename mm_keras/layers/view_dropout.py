"""Single views dropped in training."""

import keras
from keras import ops

from mm_keras.layers.presence_dropout import PresenceDropout


@keras.saving.register_keras_serializable("mm_keras")
class ViewDropout(PresenceDropout):
    """Marks single views of an object as absent, at random, in training.

    Use it where a model will be shown other numbers of views than it was trained with: a maximum
    over twelve views has another distribution than one over three. It works on the mask that
    `ViewPooling` takes, so that a dropped view has no weight and no gradient. Of the views that a
    sample has, at least one stays: where all would be dropped, one of them, drawn evenly, is kept.
    At inference it does nothing, and `mm.inference_model` removes it.

    Args:
        rate: Probability that a view is dropped, in [0, 1).
        seed: Of the random numbers.

    Call arguments:
        inputs: `(B, V)` bool: which views are there. A sample without any view keeps none.

    Output shape:
        That of `inputs`.

    Raises:
        ValueError: For a rate outside [0, 1).

    Example:

    >>> import numpy as np
    >>> from mm_keras import layers
    >>> there = np.array([[True, True, True], [False, False, True]])
    >>> kept = np.asarray(layers.ViewDropout(0.5, seed=0)(there, training=True))
    >>> bool((kept & ~there).any()), kept.any(axis=1).tolist()
    (False, [True, True])
    """

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        present = ops.cast(inputs, "bool")
        return ops.logical_and(present, self.keep_some(present))

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor(inputs.shape, dtype="bool")
