"""Where a modality enters the graph."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("mm_keras")
class ModalityInput(keras.layers.Layer):
    """Marks where a modality enters the graph, carries its spec, and clears absent samples.

    A saved model keeps the spec (shape, units, vocabulary) in this layer, so that
    `mm.modalities_of` finds it again. With a presence input, samples that lack the modality become
    zeros here, whatever they held: even NaN in an absent sample has no effect. So do single views
    that are absent.

    Args:
        spec: A spec (`mm.Image`, `mm.Text`, …).

    Call arguments:
        inputs: The modality, `(B, …)`.
        present: Optional, `(B, 1)` bool, or `(B, V)` for each of V views.

    Output shape:
        That of `inputs`.
    """

    def __init__(self, spec: Any, **kwargs):
        kwargs.setdefault("dtype", spec.dtype)
        super().__init__(autocast=False, **kwargs)
        self.spec = spec.outline()

    def call(self, inputs, present=None):
        inputs = ops.cast(inputs, self.spec.dtype)
        if present is None:
            return inputs
        rank = len(inputs.shape)
        present = ops.reshape(ops.cast(present, "bool"), (-1, present.shape[1]) + (1,) * (rank - 2))
        return ops.where(present, inputs, ops.zeros_like(inputs))

    def compute_output_spec(self, inputs, present=None):
        return keras.KerasTensor(inputs.shape, dtype=self.spec.dtype)

    def get_config(self):
        return {**super().get_config(), "spec": keras.saving.serialize_keras_object(self.spec)}

    @classmethod
    def from_config(cls, config):
        config = {**config, "spec": keras.saving.deserialize_keras_object(config["spec"])}
        return cls(**config)
