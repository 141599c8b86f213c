"""The learning rate of domain-adversarial training."""

import keras

from mm_keras._checks import check_number
from mm_keras.training.by_progress import ByProgress


class ProgressDecay(ByProgress):
    """Lets the learning rate fall as `initial / (1 + alpha·p)^beta`, p from 0 to 1 over all steps.

    The paper's schedule, which goes with SGD of momentum 0.9 and with `ReversalSchedule`. It is a
    callback, since `fit` knows how many steps there are.

    Args:
        initial: The learning rate at p = 0, at least 0.
        alpha: At least 0.
        beta: At least 0.

    Raises:
        ValueError: If a number is negative, or the optimizer has a schedule of its own.

    Example:

    >>> import mm_keras as mm
    >>> decay = mm.training.ProgressDecay()
    >>> [round(decay.rate(p), 5) for p in (0, 0.5, 1)]
    [0.01, 0.00261, 0.00166]

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016.
    """

    def __init__(self, initial: float = 0.01, alpha: float = 10.0, beta: float = 0.75):
        super().__init__()
        check_number("initial", initial)
        check_number("alpha", alpha)
        check_number("beta", beta)
        self.initial = initial
        self.alpha = alpha
        self.beta = beta

    def rate(self, progress: float) -> float:
        """Returns the learning rate for a progress p from 0 to 1."""
        return self.initial / (1.0 + self.alpha * progress) ** self.beta

    def on_train_begin(self, logs=None):
        rate = self.model.optimizer.get_config()["learning_rate"]
        if isinstance(rate, dict | keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                "`optimizer` must have a number as its learning rate, which ProgressDecay sets. "
                f"Received: learning_rate={rate!r}."
            )

    def on_progress(self, progress):
        self.model.optimizer.learning_rate = self.rate(progress)
