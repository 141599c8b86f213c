"""What callbacks that raise a weight of a layer over the epochs have in common."""

import keras

from mm_keras._checks import check_int


class RampUp(keras.callbacks.Callback):
    """Raises something from 0 to its full value: 0 for a while, then linearly.

    A subclass says which layers it acts on, and what it sets.

    Args:
        warmup: Number of epochs at 0.
        rampup: Number of epochs over which it then rises, linearly; 0: at once.
    """

    def __init__(self, warmup: int, rampup: int):
        super().__init__()
        check_int("warmup", warmup, minimum=0)
        check_int("rampup", rampup, minimum=0)
        self.warmup = warmup
        self.rampup = rampup

    def share(self, epoch: int) -> float:
        """Returns the share of the full value in an epoch, counted from 0."""
        return min(1.0, max(0.0, (epoch + 1 - self.warmup) / max(self.rampup, 1)))

    def layers(self) -> list[keras.layers.Layer]:
        """Returns the layers of the model to act on; raises where there is none."""
        raise NotImplementedError

    def assign(self, layer: keras.layers.Layer, share: float) -> None:
        """Sets a layer's value to a share of the full one."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        self._layers = self.layers()

    def on_epoch_begin(self, epoch, logs=None):
        for layer in self._layers:
            self.assign(layer, self.share(epoch))
