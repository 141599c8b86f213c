"""Losses on gates: balance and cost."""

import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import floats


def gated(gates, present=None):
    gates = np.array(gates, "float32")
    present = np.ones(gates.shape, "bool") if present is None else np.array(present, "bool")
    return {"gates": gates, "present": present}


def loss(layer, inputs, training=True):
    layer(inputs, training=training)
    return float(sum(layer.losses))


def balance_oracle(gates, present):
    gates, present = np.array(gates, float), np.array(present, bool)
    some = present.any(1)
    share = gates[some].mean(0)
    target = (present[some] / present[some].sum(1, keepdims=True)).mean(0)
    return gates.shape[1] * ((share - target) ** 2).sum()


GATES = [[0.7, 0.3, 0], [0, 1, 0], [0.2, 0.3, 0.5], [0, 0, 0]]
PRESENT = [[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_balance_oracle():
    expected = balance_oracle(GATES, PRESENT)
    assert expected > 0.01
    assert loss(layers.LoadBalance(0.5), gated(GATES, PRESENT)) == pytest.approx(0.5 * expected)


def test_balance_is_the_squared_coefficient_of_variation():
    gates = np.random.default_rng(0).dirichlet([1, 2, 3], 20)
    load = gates.sum(0)
    expected = load.var() / load.mean() ** 2
    assert loss(layers.LoadBalance(1.0), gated(gates)) == pytest.approx(expected, rel=1e-4)


def test_balanced_gates_cost_nothing_however_choosy():
    assert loss(layers.LoadBalance(1.0), gated(np.eye(3))) == pytest.approx(0, abs=1e-9)
    assert loss(layers.LoadBalance(1.0), gated([[1, 0, 0]] * 3)) == pytest.approx(2)


def test_balance_asks_nothing_of_what_is_absent():
    there = [[1, 0], [1, 0], [1, 1]]
    even = [[1, 0], [1, 0], [0.5, 0.5]]
    assert loss(layers.LoadBalance(1.0), gated(even, there)) == pytest.approx(0, abs=1e-9)
    assert loss(layers.LoadBalance(1.0), gated(even)) > 0.1


def test_cost_oracle():
    layer = layers.GateCost([1, 0, 4], weight=0.5)
    expected = 0.5 * np.mean([0.7, 0, 0.2 + 4 * 0.5])  # the sample without anything doesn't count
    assert loss(layer, gated(GATES, PRESENT)) == pytest.approx(expected)


def test_cost_pushes_gates_to_what_is_cheap():
    layer = layers.GateCost([1, 3], weight=1.0)
    gates = floats(5, 2)
    found = testing.gradients(
        lambda x: layer({**x, "present": np.ones((5, 2), "bool")}, training=True)["present"],
        layer,
        {"gates": gates},
    )["gates"]
    np.testing.assert_allclose(found, [[1 / 5, 3 / 5]] * 5, rtol=1e-5)


@pytest.mark.parametrize("layer", [layers.LoadBalance, lambda w: layers.GateCost([1, 2, 3], w)])
def test_acts_in_training_only_and_passes_its_inputs(layer):
    inputs = {**gated(GATES, PRESENT), "features": {"a": floats(4, 2, 3)}}
    assert loss(layer(1.0), inputs) > 0
    assert loss(layer(0.0), inputs) == 0
    assert loss(layer(1.0), inputs, training=False) == 0
    outputs = layer(1.0)(inputs, training=True)
    np.testing.assert_array_equal(outputs["gates"], inputs["gates"])
    np.testing.assert_array_equal(outputs["present"], inputs["present"])
    np.testing.assert_array_equal(outputs["features"]["a"], inputs["features"]["a"])


def test_empty_batch_of_samples_is_finite():
    nothing = gated(np.zeros((2, 3)), np.zeros((2, 3)))
    assert loss(layers.LoadBalance(1.0), nothing) == 0
    assert loss(layers.GateCost([1, 2, 3]), nothing) == 0


def test_errors():
    with pytest.raises(ValueError, match=r"`weight` must be at least 0\.0"):
        layers.LoadBalance(-1.0)
    with pytest.raises(ValueError, match=r"`costs` must be at least 0\.0"):
        layers.GateCost([1, -1])
    with pytest.raises(TypeError, match="`costs` must be a number"):
        layers.GateCost(["cheap"])
    with pytest.raises(TypeError, match="`costs` must be a sequence of numbers"):
        layers.GateCost({"a": 1})
    with pytest.raises(ValueError, match="`costs` must have 3 numbers, one for each gate"):
        layers.GateCost([1, 2])(gated(GATES))
