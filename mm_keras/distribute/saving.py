"""When a training is written down, and where it goes on."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from mm_keras._checks import check_bool
from mm_keras.distribute.workers import Workers
from mm_keras.training import Checkpoints, Position


def check_checkpoints(checkpoints: Any, resume: bool) -> None:
    """Raises for checkpoints that don't fit, or that a training from the start would mix with."""
    check_bool("resume", resume)
    if checkpoints is None:
        if resume:
            raise ValueError("`checkpoints` must be given to resume from. Received: None.")
        return
    if not isinstance(checkpoints, Checkpoints):
        raise TypeError(
            "`checkpoints` must be mm.training.Checkpoints(folder). "
            f"Received: {type(checkpoints).__name__}."
        )
    if checkpoints.paths and not resume:
        raise ValueError(
            "`checkpoints` must be in a folder without any, unless resume=True. Received: "
            f"{checkpoints.folder}, with {checkpoints.paths[-1].name}."
        )


class Saving:
    """Writes checkpoints on the chief, and restores them on all workers.

    Within an epoch each replica has statistics and metrics of its own, so that with several
    replicas a training is written down at the ends of epochs.

    Args:
        model: Compiled, its variables created.
        workers: That train it.
        checkpoints: `None`: nothing is written.
        callbacks: Of the training, on this worker.
    """

    def __init__(
        self,
        model: keras.Model,
        workers: Workers,
        checkpoints: Checkpoints | None,
        callbacks: Sequence[keras.callbacks.Callback],
    ):
        self._model = model
        self._workers = workers
        self._checkpoints = checkpoints
        self._callbacks = callbacks
        self._every = checkpoints and checkpoints.every
        replicas = workers.strategy.num_replicas_in_sync
        if self._every and replicas > 1:
            raise ValueError(
                "`checkpoints` must be those of whole epochs, every=None, with several replicas; "
                "steps_per_epoch makes epochs shorter. "
                f"Received: every={self._every} with {replicas} replicas."
            )

    def __call__(self, position: Position) -> None:
        """Writes the state at a position."""
        if self._checkpoints and self._workers.is_chief:
            self._checkpoints.save(self._model, position, self._callbacks)

    def within(self, epoch: int) -> Callable[[int, int], None]:
        """Returns a function of the steps done before and after an execution."""

        def save(before: int, after: int) -> None:
            if self._every and before // self._every < after // self._every:
                self(Position(epoch, after))

        return save

    def restore(self) -> Position | None:
        """Returns where the last checkpoint was taken, having put its state back, or `None`."""
        position = None
        for chief in (True, False):  # the chief first, since it sets damaged ones aside
            if self._workers.is_chief is chief:
                position = self._checkpoints.restore(self._model, self._callbacks)
            places = self._workers.exchange(position.epoch if position else -1)
        if len(set(places)) > 1:
            raise ValueError(
                "`checkpoints` must be in a folder that all workers see. Received: "
                f"{self._checkpoints.folder}, whose last epoch is {places}, by worker (-1: none)."
            )
        return position
