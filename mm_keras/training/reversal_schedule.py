"""The factor of gradient reversal over a training."""

import math

from mm_keras._checks import check_number
from mm_keras.layers import GradientReversal
from mm_keras.training.by_progress import ByProgress


class ReversalSchedule(ByProgress):
    """Raises λ of every `GradientReversal` layer from 0 to the factor it was made with.

    `λ = factor · (2 / (1 + e^{−gamma·p}) − 1)`, p from 0 to 1 being the share of all steps done: a
    discriminator that knows nothing yet should not disturb the features. Where the number of steps
    in an epoch is not known, in the first epoch on a dataset without a cardinality, p follows the
    epochs alone.

    Args:
        gamma: At least 0: how early λ rises.

    Raises:
        ValueError: If `gamma` is negative, or the model has no `GradientReversal` layer.

    Example:

    >>> import mm_keras as mm
    >>> schedule = mm.training.ReversalSchedule()
    >>> [round(schedule.share(p), 5) for p in (0, 0.1, 0.5, 1)]
    [0.0, 0.46212, 0.98661, 0.99991]

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016.
    """

    def __init__(self, gamma: float = 10.0):
        super().__init__()
        check_number("gamma", gamma)
        self.gamma = gamma

    def share(self, progress: float) -> float:
        """Returns λ over its final factor, for a progress p from 0 to 1."""
        return math.tanh(self.gamma * progress / 2)  # = 2 / (1 + e^{−gamma·p}) − 1

    def on_train_begin(self, logs=None):
        self._layers = [x for x in self.model.layers if isinstance(x, GradientReversal)]
        if not self._layers:
            raise ValueError(
                "`model` must have a GradientReversal layer, as build_afe makes it. "
                f"Received: {self.model.name!r} without one."
            )

    def on_progress(self, progress):
        for layer in self._layers:
            layer.current_factor.assign(layer.factor * self.share(progress))
