"""A trace of some steps, for TensorBoard."""

import os

import keras
import tensorflow as tf

from mm_keras._checks import check_int


class Profiler(keras.callbacks.Callback):
    """Writes a trace of some training steps, which TensorBoard's profile plugin reads.

    The trace shows what each thread did when: the steps, what they computed, and what the input
    pipeline did meanwhile. docs/distribute.md says how to read from it which of the two keeps the
    other waiting. It is taken once, on the chief.

    Args:
        folder: In which `plugins/profile/<time>/` is made.
        first: Number of the first step, from 0, of all steps: those before it are slowed by what
            happens once.
        steps: How many, or as many as there are.

    Raises:
        ValueError: If an argument doesn't fit.

    Example:

    >>> import mm_keras as mm
    >>> profiler = mm.distribute.Profiler("runs/profile", first=10, steps=20)
    """

    chief_only = True

    def __init__(self, folder: str | os.PathLike, first: int = 5, steps: int = 20):
        super().__init__()
        check_int("first", first, minimum=0)
        check_int("steps", steps)
        self.folder = folder
        self.first = first
        self.steps = steps

    def on_train_begin(self, logs=None):
        self._done, self._since = 0, None

    def on_train_batch_begin(self, batch, logs=None):
        if self._done == self.first:
            tf.profiler.experimental.start(os.fspath(self.folder))
            self._since = self._done

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        if self._since is not None and self._done - self._since == self.steps:
            self._stop()

    def on_train_end(self, logs=None):
        if self._since is not None:
            self._stop()

    def _stop(self):
        self._since = None
        tf.profiler.experimental.stop()
