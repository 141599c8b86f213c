"""A discriminator of two encoders, and the loss by which one imitates the other."""

import itertools
from collections.abc import Sequence

import keras
from keras import ops

from mm_keras._checks import check_number, check_sizes
from mm_keras.layers.training_only import TrainingOnly


@keras.saving.register_keras_serializable("mm_keras")
class AdversarialAlignment(TrainingOnly, keras.layers.Layer):
    """Adds, in training, the two losses of ADDA: a discriminator's, and that of inverted labels.

    `L_D = BCE(D(f_s), 1) + BCE(D(f_t), 0)` trains the discriminator alone, and
    `L_F = rate · BCE(D(f_t), 1)` trains the target's encoder alone, to make features that pass for
    the source's. The source's features get no gradient. Where D says 0.5, each BCE is ln 2.

    `rate` is the encoder's learning rate over the discriminator's, for plain SGD or SGD with
    momentum; Adam, which divides by the gradient's size, takes it away. `mm.inference_model`
    removes the layer. `mm.build_adda` makes a model with it.

    Args:
        hidden: Widths of the discriminator's dense layers with ReLU.
        rate: Weight of L_F.

    Call arguments:
        inputs: The target's features, `(B, D)`; they are returned as they are.
        source: The source's features, `(B, D)`.

    Output shape:
        That of `inputs`.

    Raises:
        ValueError: If an argument, or the features' shapes, don't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.AdversarialAlignment(hidden=(), rate=1.0)
    >>> target = layer(np.zeros((2, 3)), source=np.zeros((2, 3)), training=True)
    >>> round(float(layer.losses[0] / np.log(2)), 4)  # D says 0.5 of zeros, three times
    3.0

    Reference: Tzeng et al., Adversarial Discriminative Domain Adaptation, 2017.
    """

    def __init__(self, hidden: Sequence[int] = (64,), rate: float = 0.01, **kwargs):
        super().__init__(autocast=False, **kwargs)
        hidden = tuple(hidden) if isinstance(hidden, list) else hidden
        check_sizes("hidden", hidden)
        check_number("rate", rate)
        self.hidden = hidden
        self.rate = rate

    def build(self, inputs_shape, source_shape):
        if len(inputs_shape) != 2 or tuple(inputs_shape[1:]) != tuple(source_shape[1:]):
            raise ValueError(
                "`inputs` and `source` of AdversarialAlignment must be (B, D) of one width. "
                f"Received shapes: {tuple(inputs_shape)} and {tuple(source_shape)}."
            )
        sizes = [inputs_shape[-1], *self.hidden, 1]
        self.kernels, self.biases = [], []
        for number, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            self.kernels.append(
                self.add_weight(
                    shape=(before, after),
                    initializer="glorot_uniform",
                    dtype="float32",
                    name=f"kernel_{number}",
                )
            )
            self.biases.append(
                self.add_weight(
                    shape=(after,), initializer="zeros", dtype="float32", name=f"bias_{number}"
                )
            )

    def call(self, inputs, source, training=False):
        if training:
            apart = ops.mean(ops.softplus(-self.scores(ops.stop_gradient(source))))
            apart += ops.mean(ops.softplus(self.scores(ops.stop_gradient(inputs))))
            fooled = ops.mean(ops.softplus(-self.scores(inputs, frozen=True)))
            self.add_loss(apart + self.rate * fooled)
        return inputs

    def scores(self, features, frozen=False):
        """Returns D's logits `(B, 1)`: above 0 for what it takes for the source.

        Args:
            features: `(B, D)`.
            frozen: Whether the gradient passes to the features only.
        """
        x = ops.cast(features, "float32")
        last = len(self.kernels) - 1
        for number, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            kernel, bias = ops.convert_to_tensor(kernel), ops.convert_to_tensor(bias)
            if frozen:
                kernel, bias = ops.stop_gradient(kernel), ops.stop_gradient(bias)
            x = ops.matmul(x, kernel) + bias
            if number < last:
                x = ops.relu(x)
        return x

    def compute_output_spec(self, inputs, source, training=False):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "rate": self.rate}
