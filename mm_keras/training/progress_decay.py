"""The learning rate of domain-adversarial training."""

import keras
from keras import ops

from mm_keras._checks import check_int, check_number


@keras.saving.register_keras_serializable("mm_keras")
class ProgressDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Lets the learning rate fall as `initial / (1 + alpha·p)^beta`, p from 0 to 1 over all steps.

    The paper's schedule, which goes with SGD of momentum 0.9 and with `ReversalSchedule`.

    Args:
        total_steps: Steps of the whole training: steps in an epoch times epochs.
        initial_learning_rate: At p = 0.
        alpha: At least 0.
        beta: At least 0.

    Raises:
        ValueError: If a number is too small.

    Example:

    >>> import mm_keras as mm
    >>> schedule = mm.training.ProgressDecay(total_steps=100)
    >>> [round(float(schedule(step)), 5) for step in (0, 50, 100)]
    [0.01, 0.00261, 0.00166]

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016.
    """

    def __init__(
        self,
        total_steps: int,
        initial_learning_rate: float = 0.01,
        alpha: float = 10.0,
        beta: float = 0.75,
    ):
        check_int("total_steps", total_steps)
        check_number("initial_learning_rate", initial_learning_rate)
        check_number("alpha", alpha)
        check_number("beta", beta)
        self.total_steps = total_steps
        self.initial_learning_rate = initial_learning_rate
        self.alpha = alpha
        self.beta = beta

    def __call__(self, step):
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        return self.initial_learning_rate * (1.0 + self.alpha * progress) ** -self.beta

    def get_config(self):
        return {
            "total_steps": self.total_steps,
            "initial_learning_rate": self.initial_learning_rate,
            "alpha": self.alpha,
            "beta": self.beta,
        }
