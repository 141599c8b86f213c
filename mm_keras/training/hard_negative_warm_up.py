"""From all negatives to the hardest one."""

from mm_keras.layers import ContrastiveLearning
from mm_keras.training.ramp_up import RampUp


class HardNegativeWarmUp(RampUp):
    """Raises the hardness of every `ContrastiveLearning` layer from 0 to the one it was made with.

    The hardest negative of embeddings that know nothing yet draws all of them to one point, where
    the loss stays at twice the margin. The sum over all negatives doesn't.

    Args:
        warmup: Number of epochs at hardness 0, the sum.
        rampup: Number of epochs over which the hardness then rises, linearly; 0: at once.

    Raises:
        ValueError: If a number is negative, or the model has no `ContrastiveLearning` layer with
            the loss `"vse"`.

    Example:

    >>> import mm_keras as mm
    >>> warm_up = mm.training.HardNegativeWarmUp(warmup=2, rampup=2)
    >>> [warm_up.share(epoch) for epoch in range(5)]
    [0.0, 0.0, 0.5, 1.0, 1.0]

    Reference: Faghri et al., VSE++, 2018.
    """

    def __init__(self, warmup: int = 2, rampup: int = 0):
        super().__init__(warmup, rampup)

    def layers(self):
        found = [
            layer
            for layer in self.model.layers
            if isinstance(layer, ContrastiveLearning) and layer.loss == "vse"
        ]
        if not found:
            raise ValueError(
                "`model` must have a ContrastiveLearning layer with the loss 'vse', as "
                "build_cmn(…, contrastive='vse') makes it. "
                f"Received: {self.model.name!r} without one."
            )
        return found

    def assign(self, layer, share):
        layer.current_hardness.assign(layer.hardness * share)
