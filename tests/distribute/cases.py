"""What is trained alike by one process and by several: models, data and losses, all seeded."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import mm_keras as mm

CLASSES = 3
EPOCHS = 2
A, B = mm.Features(6), mm.Features((3, 4), optional=True)  # samples may lack b
OPTIONS = {"width": 4, "hidden": (4,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and what it is trained on.

    Args:
        build: Returns the model, not compiled.
        compile: Arguments of `compile`, from the model.
        data: Returns batches to train on, from the model.
        options: Further arguments of `fit`.
        optimizer: Returns the optimizer.
    """

    build: Callable[[], keras.Model]
    compile: Callable[[keras.Model], dict[str, Any]]
    data: Callable[[keras.Model], tf.data.Dataset]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Callable[[], keras.optimizers.Optimizer] = lambda: keras.optimizers.Adam(0.01)

    def model(self) -> keras.Model:
        """Returns the compiled model, always with the same weights."""
        keras.utils.set_random_seed(7)
        model = self.build()
        model.compile(self.optimizer(), jit_compile=False, **self.compile(model))
        return model


def samples(count, seed=0, optional=True):
    """Returns single samples; of 4 classes' worth of order the first a-value says the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    inputs = {"a": rng.normal(size=(count, 6)).astype("float32") + labels[:, None]}
    if optional:
        present = rng.random((count, 1)) < 0.7
        b = rng.normal(size=(count, 3, 4)).astype("float32") * present[..., None]
        inputs |= {"b": b, "b_present": present}
    return tf.data.Dataset.from_tensor_slices((inputs, labels))


def _afe_data(model):
    source, target = samples(18), samples(20, seed=1).map(lambda inputs, label: inputs)
    return mm.data.domain_batches(source, target, batch_size=12)


def _dense():
    """A network by hand, for what no builder has: batch normalisation first, a regulariser."""
    a = keras.Input((6,), name="a")
    x = keras.layers.BatchNormalization(momentum=0.9, name="norm")(a)
    x = keras.layers.Dense(5, "relu", kernel_regularizer="l2")(x)
    x = keras.layers.BatchNormalization(momentum=0.8)(x)
    return keras.Model({"a": a}, keras.layers.Dense(1, "sigmoid")(x))


def _dense_data(model):
    data = samples(19, optional=False)
    weights = tf.data.Dataset.from_tensor_slices(np.linspace(0.1, 2, 19).astype("float32"))
    zipped = tf.data.Dataset.zip((data, weights))
    return zipped.map(lambda one, weight: (one[0], one[1] > 0, weight)).batch(8)


LOSS = mm.losses.classification()
CASES = {
    # 19 samples in batches of 9: the last batch has one, fewer than there are workers.
    "mcnn": Case(
        lambda: mm.build_mcnn({"a": A, "b": B}, CLASSES, fusion="gated", **OPTIONS),
        lambda model: {"loss": LOSS, "metrics": ["accuracy"]},
        lambda model: samples(19).batch(9),
        {"class_weight": {0: 2.0, 2: 0.5}},
    ),
    "dml": Case(
        lambda: mm.build_dml({"a": A, "b": B}, CLASSES, temperature=2.0, **OPTIONS),
        lambda model: {
            "loss": mm.training.student_losses(model, LOSS),
            "metrics": {"label": "accuracy"},
        },
        lambda model: mm.data.labels_for_outputs(samples(23).batch(9), model),
    ),
    "afe": Case(
        lambda: mm.build_afe({"a": A, "b": B}, CLASSES, domain_hidden=(4,), **OPTIONS),
        lambda model: {
            "loss": {"label": LOSS, "domain": LOSS},
            "weighted_metrics": {"label": ["accuracy"]},
        },
        _afe_data,
    ),
    "dense": Case(
        _dense,
        lambda model: {
            "loss": "binary_crossentropy",
            "metrics": [keras.metrics.AUC(name="auc")],  # no mean of workers' values
            "weighted_metrics": ["accuracy"],
        },
        _dense_data,
    ),
}


def _small(optimizer):
    """A network of one modality, with ragged batches, for what an optimizer does."""
    return Case(
        lambda: mm.build_mcnn({"a": A}, CLASSES, width=4),
        lambda model: {"loss": LOSS},
        lambda model: samples(19, optional=False).batch(5),
        optimizer=optimizer,
    )


# Far below the norms of these gradients, and values in them.
CLIPPED = {
    "clipnorm": {"clipnorm": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
}
for _name, _limit in CLIPPED.items():
    CASES[_name] = _small(lambda limit=_limit: keras.optimizers.SGD(0.5, 0.9, **limit))
ACCUMULATED = _small(lambda: keras.optimizers.SGD(0.5, gradient_accumulation_steps=2))
