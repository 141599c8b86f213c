"""What holds for every model that went over the bridge."""

import keras
import numpy as np

from mm_keras.compress.bridge import to_tf_keras
from mm_keras.compress.parity import difference, random_inputs


def check_roundtrip(model, inputs=None, least=1e-4):
    """Checks that both sides agree, and that weights which change on one side come back.

    Args:
        model: A functional Keras 3 model.
        inputs: For it; `None`: random.
        least: How much the outputs move, relative to their size, when the weights do.

    Returns:
        The bridge.
    """
    keras.utils.set_random_seed(0)
    _shake(model.weights)  # biases that are not 0, statistics that are not 0 and 1
    before = [w.numpy() for w in model.weights]
    bridge = to_tf_keras(model)
    inputs = random_inputs(bridge.source, seed=1) if inputs is None else inputs
    expected = model(inputs, training=False)
    assert bridge.difference <= 1e-5
    assert difference(expected, bridge.model(inputs, training=False)) <= 1e-5

    names = [layer.name for layer in bridge.model.layers]
    assert len(names) == len(set(names))
    assert {*bridge.layers} <= {*names}
    _shake(bridge.model.weights)
    changed = bridge.model(inputs, training=False)
    returned = bridge.to_keras()
    assert difference(returned(inputs, training=False), changed) <= 1e-5
    if any(w.shape for w in model.trainable_weights):
        assert difference(expected, changed) > least
    for one, other in zip(returned.weights, model.weights, strict=True):
        assert (one.name, one.shape) == (other.name, other.shape)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)
    assert difference(expected, model(inputs, training=False)) == 0
    return bridge


def _shake(weights):
    """Changes weights and moving statistics."""
    rng = np.random.default_rng(3)
    for weight in weights:
        if weight.trainable or "moving" in weight.name:
            value = np.asarray(weight)
            noise = rng.normal(size=value.shape)
            weight.assign(value + 0.1 * (abs(noise) if value.ndim == 1 else noise))
