"""Temperatures that fall while a model trains."""

from collections.abc import Callable

import keras

from mm_keras._checks import check_number
from mm_keras.layers import ModalityGate


class TemperatureSchedule(keras.callbacks.Callback):
    """Sets the temperature τ of every `ModalityGate` at the start of each epoch.

    A high τ makes gates even, so that every branch learns; a low one makes them choose. By default
    τ falls from `start` to `end` in equal ratios: `start · (end / start)^p`, with p from 0 in the
    first epoch to 1 in the last. The temperature is a weight of the layer: the compiled graph
    follows it, and a saved model keeps it.

    Args:
        start: τ in the first epoch, above 0.
        end: τ in the last epoch, above 0.
        schedule: Instead of these, a function from p to τ.

    Raises:
        ValueError: If a temperature is not above 0, or the model has no `ModalityGate`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_dfn({"a": mm.Features(3), "b": mm.Features(3)}, 2, width=4)
    >>> model.compile("sgd", {"label": mm.losses.classification()}, jit_compile=False)
    >>> history = model.fit(
    ...     {"a": np.ones((2, 3)), "b": np.ones((2, 3))},
    ...     {"label": np.array([0, 1])},
    ...     epochs=3,
    ...     verbose=0,
    ...     callbacks=[mm.training.TemperatureSchedule(4.0, 1.0)],
    ... )
    >>> history.history["temperature"]
    [4.0, 2.0, 1.0]
    """

    def __init__(
        self,
        start: float = 4.0,
        end: float = 0.5,
        schedule: Callable[[float], float] | None = None,
    ):
        super().__init__()
        self.start = _positive("start", start)
        self.end = _positive("end", end)
        self.schedule = schedule

    def temperature(self, progress: float) -> float:
        """Returns τ for a progress p from 0 to 1."""
        if self.schedule is None:
            return float(self.start * (self.end / self.start) ** progress)
        return _positive("schedule", self.schedule(progress))

    def on_train_begin(self, logs=None):
        self._gates = [layer for layer in self.model.layers if isinstance(layer, ModalityGate)]
        if not self._gates:
            raise ValueError(
                "`model` must have a ModalityGate, whose temperature is set. "
                f"Received: {self.model.name!r}, which has none."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self._now = self.temperature(epoch / max(self.params["epochs"] - 1, 1))
        for gate in self._gates:
            gate.temperature.assign(self._now)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["temperature"] = self._now


def _positive(argument: str, value: float) -> float:
    check_number(argument, value)
    if value == 0:
        raise ValueError(
            f"`{argument}` must be above 0: it is a temperature. Received: {argument}={value}."
        )
    return value
