"""How much each sample counts with the discriminator."""

import keras
from keras import ops

from mm_keras.layers.gradient_reversal import scale_gradient


@keras.saving.register_keras_serializable("mm_keras")
class DomainWeighting(keras.layers.Layer):
    """Returns what it is given; the gradient that comes back is weighed for each sample.

    After the logits of a discriminator, that is the same as weighing each sample's loss, for all
    weights and features before it, with weights that are made in the graph:

    - `1 + e^{−H(p)}`, H being the entropy of the sample's prediction p: entropy conditioning, by
      which easy samples are aligned first. The weights are divided by their mean over the batch.
    - 0 for samples that lack what is aligned, by `mask`: they count neither way.

    The reported value of the loss is without these weights.

    Call arguments:
        inputs: `(B, …)`.
        predictions: Optional, `(B, C)`: probabilities, of one distribution, or of several side by
            side. No gradient reaches them.
        mask: Optional, `(B, N)` or `(B, 1)` bool.

    Output shape:
        That of `inputs`, with the same bits in it.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.DomainWeighting()
    >>> predictions = np.array([[1.0, 0.0], [0.5, 0.5]])
    >>> layer.weights_of(predictions).numpy().round(4)  # 2 and 1.5, over their mean
    array([1.1429, 0.8571], dtype=float32)

    Reference: Long et al., Conditional Adversarial Domain Adaptation, 2018.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def call(self, inputs, predictions=None, mask=None):
        if predictions is None and mask is None:
            return inputs
        weights = self.weights_of(predictions, mask)
        shape = (-1, *[1] * (len(inputs.shape) - 1))
        return scale_gradient(inputs, ops.reshape(weights, shape))

    def weights_of(self, predictions=None, mask=None):
        """Returns the weights `(B,)`, float32, with a mean of 1 over the samples present."""
        present = weights = None
        if mask is not None:
            present = weights = ops.cast(ops.any(ops.cast(mask, "bool"), axis=1), "float32")
        if predictions is not None:
            p = ops.stop_gradient(ops.cast(predictions, "float32"))
            # p log p is 0 at 0
            entropy = -ops.sum(p * ops.log(ops.where(p > 0, p, ops.ones_like(p))), axis=-1)
            weights = 1.0 + ops.exp(-entropy)
            if present is None:
                return weights / ops.mean(weights)
            weights = weights * present
            return weights * ops.sum(present) / ops.maximum(ops.sum(weights), 1e-6)
        return weights

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, predictions=None, mask=None):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
