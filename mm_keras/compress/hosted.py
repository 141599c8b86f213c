"""Training tf_keras models with what belongs to Keras 3."""

import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mm_keras.compress.carried import training_scope


class Hosted(keras.Model):
    """A Keras 3 model whose forward pass, and whose weights, are those of a tf_keras model.

    TFMOT's clustering and quantization-aware training live in tf_keras models. Trained by tf_keras
    itself they would need losses, metrics, optimizers and callbacks of tf_keras; trained through
    this they take those of Keras 3, this package's included, with `sample_weight`, outputs in
    dicts, progress bar and all, and the history is that of any Keras 3 model.

    It has a `train_step` of its own since the weights are plain TensorFlow variables, which
    `Model.trainable_variables` cannot hold. After `fit` the tf_keras model has what was learnt.

    Callbacks see this model: `get_weights` and `set_weights` are those of the tf_keras model, so
    that `EarlyStopping(restore_best_weights=True)` works; `save`, for `ModelCheckpoint`, writes
    the Keras 3 model that `to_keras` returns.

    Args:
        inner: A functional tf_keras model.
        to_keras: Returns the Keras 3 model that `inner` stands for as it is trained.
        layers: Layers of Keras 3 that callbacks may look for (`Bridge.source.layers`).
    """

    def __init__(
        self,
        inner: Any,
        to_keras: Callable[[], keras.Model] | None = None,
        layers: list[keras.layers.Layer] | None = None,
    ):
        super().__init__(name=inner.name)
        self._inner = _Untracked(inner)
        self._to_keras = _Untracked(to_keras)
        self._shown = _Untracked(layers or [])
        self.built = True
        for variable in inner.trainable_variables:
            if not hasattr(variable, "path"):  # some optimizers ask for it
                variable.path = re.sub(r"[^A-Za-z0-9_./>-]", "_", variable.name.split(":")[0])

    @property
    def inner(self) -> Any:
        """The tf_keras model."""
        return self._inner.value

    def compile(self, optimizer="rmsprop", **kwargs):
        optimizer = keras.optimizers.get(optimizer)
        if isinstance(optimizer, keras.optimizers.Adafactor):
            raise ValueError(
                "`optimizer` must not be Adafactor, which takes no weights of tf_keras: use "
                f"another one for this step. Received: optimizer={optimizer!r}."
            )
        super().compile(optimizer, **kwargs)

    def call(self, inputs, training=None):
        return self.inner(inputs, training=bool(training))

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape, training_scope():
            # Not through `self`: within its call, Keras 3 layers would not clear their losses.
            y_pred = self.inner(x, training=True)
            loss = self.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            scaled = self.optimizer.scale_loss(loss)
        variables = self.inner.trainable_variables
        gradients = tape.gradient(scaled, variables)
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        self.optimizer.apply_gradients(pairs)
        size = tf.shape(tf.nest.flatten(x)[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=size)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    @property
    def losses(self):
        return self.inner.losses

    @property
    def layers(self):
        return self._shown.value

    def get_weights(self):
        return self.inner.get_weights()

    def set_weights(self, weights):
        self.inner.set_weights(weights)

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        self._as_keras("save").save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, **kwargs):
        self._as_keras("save_weights").save_weights(filepath, overwrite=overwrite, **kwargs)

    def load_weights(self, filepath, **kwargs):
        raise NotImplementedError(
            "A model under compression cannot load weights: a callback such as BackupAndRestore "
            "cannot resume it."
        )

    def _as_keras(self, method):
        if self._to_keras.value is None:
            raise NotImplementedError(f"`{method}` is not possible while this model is trained.")
        return self._to_keras.value()


class _Untracked:
    """Keeps what Keras must not look into."""

    def __init__(self, value):
        self.value = value
