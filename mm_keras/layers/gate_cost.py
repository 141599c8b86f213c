"""A price on modalities that gates choose."""

from collections.abc import Sequence

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.gate_loss import GateLoss


@keras.saving.register_keras_serializable("mm_keras")
class GateCost(GateLoss):
    """Adds, in training, what the chosen modalities cost to the loss.

    The loss is `weight · Σ_m c_m g_m`, averaged over the samples that have any modality: gates
    then choose an expensive modality only where it pays. An absent modality, whose gate is 0,
    costs nothing. What comes in passes unchanged, and `mm.inference_model` removes the layer.

    Args:
        costs: `c_m` of each modality, at least 0, in the order of the sorted names: seconds,
            operations, or whatever counts, best as shares of the most expensive one.
        weight: λ of the loss; 0 adds none.

    Call arguments:
        inputs: What `ModalityGate` returns: a dict with `"gates"`, `(B, M)`, and `"present"`,
            `(B, M)` bool; whatever else is in it passes too.

    Output shape:
        That of `inputs`.

    Raises:
        TypeError: If `costs` is no sequence of numbers.
        ValueError: If a cost is negative, or there are not as many costs as gates.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.GateCost([1.0, 3.0], weight=0.5)
    >>> gates = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> gated = layer({"gates": gates, "present": np.ones((2, 2), "bool")}, training=True)
    >>> float(layer.losses[0])
    1.0

    Reference: Xue & Marculescu, Dynamic Multimodal Fusion, 2023.
    """

    def __init__(self, costs: Sequence[float], weight: float = 0.1, **kwargs):
        super().__init__(weight, **kwargs)
        if isinstance(costs, str) or not isinstance(costs, Sequence):
            raise TypeError(
                "`costs` must be a sequence of numbers, one for each modality in the order of the "
                f"sorted names. Received: costs={costs!r}."
            )
        for cost in costs:
            check_number("costs", cost)
        self.costs = tuple(float(cost) for cost in costs)

    def build(self, inputs_shape):
        if inputs_shape["gates"][-1] != len(self.costs):
            raise ValueError(
                f"`costs` must have {inputs_shape['gates'][-1]} numbers, one for each gate. "
                f"Received: costs={self.costs}."
            )

    def penalty(self, gates, present, counts, samples):
        costs = ops.convert_to_tensor(self.costs, dtype="float32")
        return ops.sum(gates * costs) / samples

    def get_config(self):
        return {**super().get_config(), "costs": list(self.costs)}
