"""What the tests of pruning and clustering train on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.conformance.cases import floats

STILL = {"optimizer": keras.optimizers.SGD(0.0)}  # weights move by compression alone


def vectors_model(fusion="concat", **options):
    """Returns a compiled model of two vectors, `left` (3, 8) and `right` (12,)."""
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(
        {"left": mm.Features((3, 8)), "right": mm.Features(12, optional=True)},
        4,
        width=16,
        fusion=fusion,
        hidden=(20,),
        **options,
    )
    loss, optimizer = mm.losses.classification(), keras.optimizers.Adam(0.01)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def vectors_data(names=None, samples=32):
    """Returns batches for it; with `names`, labels are a dict."""
    labels = np.arange(samples) % 4
    inputs = {
        "left": floats(samples, 3, 8),
        "right": floats(samples, 12, seed=1),
        "right_present": np.ones((samples, 1), bool),
    }
    labels = dict.fromkeys(names, labels) if names else labels
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(8)


def weights_of(model):
    """Returns copies of all weights."""
    return [w.numpy() for w in model.weights]


def require_unchanged(model, before):
    """Fails where weights differ from those before."""
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


# Arguments that `prune` and `cluster` share, what is wrong with them, and the error.
BAD_TRAINING = [
    ({"train": 3}, TypeError, "`train` must be a tf.data.Dataset"),
    ({"train": "inputs only"}, ValueError, r"`train` must give \(inputs, labels\)"),
    ({"train": "wrong name"}, ValueError, "must have 'left'|must .*'left'|left"),
    ({"train": "endless"}, ValueError, "`steps_per_epoch` must be given"),
    ({"validation_data": 3}, TypeError, "`validation_data` must be a tf.data.Dataset"),
    ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
    ({"compile": "adam"}, TypeError, "`compile` must be a dict"),
    ({"compile": {"los": "mse"}}, ValueError, "`compile` must be one of.*Did you mean 'loss'"),
    ({"layers": "label_logits"}, TypeError, "`layers` must be a sequence of names"),
    ({"layers": ["nobody"]}, ValueError, "`layers` must name layers with kernels"),
    ({"layers": lambda layer: False}, ValueError, "`layers` must choose at least one"),
]


def bad_arguments(case):
    """Returns the arguments with datasets in the place of their names."""
    train = vectors_data()
    datasets = {
        "inputs only": train.map(lambda x, y: x),
        "wrong name": train.map(lambda x, y: ({"right": x["right"]}, y)),
        "endless": train.repeat(),
    }
    return {k: datasets.get(v, v) if isinstance(v, str) else v for k, v in case.items()}


def check_errors(compress, case, error, message):
    """Checks that bad arguments raise before anything is trained."""
    model = vectors_model()
    before = weights_of(model)
    arguments = {"train": vectors_data(), "verbose": 0, **bad_arguments(case)}
    with pytest.raises(error, match=message):
        compress(model, **arguments)
    require_unchanged(model, before)
