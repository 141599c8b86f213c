"""Layers that start to learn later than others."""

from collections.abc import Mapping

import keras

from mm_keras._checks import check_int
from mm_keras.training.grouping import RegroupingCallback, group_weights, recompile_training
from mm_keras.training.layers_of import layers_of


class GradualUnfreezing(RegroupingCallback):
    """Keeps layers frozen until an epoch, and lets them learn from then on, in one `fit`.

    New layers on pretrained ones spoil these while they know nothing; so the new ones learn first,
    then the last of the old ones, then all. While a layer is frozen its weights stay, no gradient
    is computed for it, and BatchNormalization in it stays in inference mode. When it is unfrozen
    the step is compiled again, and the optimizer starts with it as with new weights: for that,
    the model's optimizer becomes an `mm.training.GroupedOptimizer` when `fit` starts.

    Not on JAX, where Keras' optimizers take all weights or none, and not with several replicas:
    call `mm.training.freeze` before `compile` there.

    Args:
        until: `{name: epoch}`: how many epochs are over before these learn, from 0. A name is that
            of a modality or of layers, as in `mm.training.layers_of`; where two mean one layer, the
            later one holds. What isn't named learns as it did.

    Raises:
        TypeError: If `until` is no dict, or an epoch no integer.
        ValueError: If it is empty or an epoch negative; when `fit` starts: if the model has no such
            modality or layer, or its optimizer has taken steps with other groups.
        RuntimeError: When `fit` starts, on JAX.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"image": mm.Features(8), "audio": mm.Features(6)}, 2)
    >>> model.compile("adam", {"label": mm.losses.classification()}, jit_compile=False)
    >>> x = {"image": np.ones((4, 8)), "audio": np.ones((4, 6))}
    >>> thaw = mm.training.GradualUnfreezing({"image": 2})
    >>> fitted = model.fit(x, {"label": np.zeros(4)}, epochs=2, verbose=0, callbacks=[thaw])
    >>> model.get_layer("image_projection").trainable
    False
    >>> fitted = model.fit(
    ...     x, {"label": np.zeros(4)}, initial_epoch=2, epochs=3, verbose=0, callbacks=[thaw]
    ... )
    >>> model.get_layer("image_projection").trainable
    True

    Reference: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, 2018.
    """

    def __init__(self, until: Mapping[str, int]):
        super().__init__()
        self.until = self.checked(
            "until", until, "epoch", lambda where, epoch: check_int(where, epoch, minimum=0)
        )

    def on_train_begin(self, logs=None):
        if keras.config.backend() == "jax":
            raise RuntimeError(
                "GradualUnfreezing needs TensorFlow or PyTorch as the backend of Keras. On JAX, "
                "train, mm.training.unfreeze, compile and train again. Received: 'jax'."
            )
        self._epochs = {
            layer: epoch
            for name, epoch in self.until.items()
            for layer in layers_of(self.model, name)
        }
        for layer in self._epochs:
            layer.trainable = True  # so that the optimizer knows its weights
        group_weights(
            self.model,
            {
                id(weight): epoch
                for layer, epoch in self._epochs.items()
                for weight in layer.weights
            },
        )

    def on_epoch_begin(self, epoch, logs=None):
        changed = False
        for layer, first in self._epochs.items():
            if layer.trainable != (epoch >= first):
                layer.trainable = epoch >= first
                changed = True
        if changed:
            recompile_training(self.model)

    def on_train_end(self, logs=None):
        del self._epochs
