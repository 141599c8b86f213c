"""What callbacks have in common that set a number by the share of the training done."""

import keras


class ByProgress(keras.callbacks.Callback):
    """Calls `on_progress(p)` before each step, p from 0 to 1 being the share of all steps done.

    Where the number of steps in an epoch is not known, in the first epoch on a dataset without a
    cardinality, p follows the epochs alone.
    """

    def on_progress(self, progress: float) -> None:
        """Sets what depends on the progress."""
        raise NotImplementedError

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._advance(epoch / self.params["epochs"])

    def on_train_batch_begin(self, batch, logs=None):
        steps = self.params["steps"]
        if batch and steps:
            self._advance((self._epoch + batch / steps) / self.params["epochs"])

    def _advance(self, progress: float) -> None:
        # Under JAX, fit keeps the variables' values elsewhere during an epoch.
        getattr(self.model, "jax_state_sync", lambda: None)()
        self.on_progress(progress)
