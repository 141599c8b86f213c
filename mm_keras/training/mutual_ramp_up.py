"""The weight of mutual learning over the epochs."""

from mm_keras.layers import MutualLearning
from mm_keras.training.ramp_up import RampUp


class MutualRampUp(RampUp):
    """Raises the weight of every `MutualLearning` layer from 0 to the one it was made with.

    Students that know nothing yet teach each other to predict nothing: small networks collapse to
    the uniform prediction. So they first learn alone, then more and more from each other.

    Args:
        warmup: Number of epochs at weight 0.
        rampup: Number of epochs over which the weight then rises, linearly; 0: at once.

    Raises:
        ValueError: If a number is negative, or the model has no `MutualLearning` layer.

    Example:

    >>> import mm_keras as mm
    >>> ramp = mm.training.MutualRampUp(warmup=3, rampup=6)
    >>> [round(ramp.share(epoch), 2) for epoch in range(10)]
    [0.0, 0.0, 0.0, 0.17, 0.33, 0.5, 0.67, 0.83, 1.0, 1.0]

    Reference: Laine and Aila, Temporal Ensembling, 2017 (ramp-up of a consistency loss).
    """

    def __init__(self, warmup: int = 3, rampup: int = 6):
        super().__init__(warmup, rampup)

    def layers(self):
        found = [x for x in self.model.layers if isinstance(x, MutualLearning)]
        if not found:
            raise ValueError(
                "`model` must have a MutualLearning layer, as build_dml makes it. "
                f"Received: {self.model.name!r} without one."
            )
        return found

    def assign(self, layer, share):
        layer.current_weight.assign(layer.weight * share)
