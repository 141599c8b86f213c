"""Late fusion by energy."""

import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import POSITIONS, PRESENT, floats


def logits():
    return {name: floats(4, 5, seed=index) for index, name in enumerate("ab")}


def energy(x):
    return np.log(np.exp(x.astype("float64")).sum(-1, keepdims=True))


def test_oracle():
    x = logits()
    outputs = layers.EnergyWeighting()(x)
    weights = {name: energy(x[name]) / 10 for name in "ab"}
    expected = sum(weights[name] * x[name] for name in "ab")
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5, atol=1e-6)
    expected = np.concatenate([weights["a"], weights["b"]], axis=-1)
    np.testing.assert_allclose(outputs["weights"], expected, rtol=1e-5)


def test_weight_shifts_by_a_tenth_of_a_shift_of_the_logits():
    x = logits()
    layer = layers.EnergyWeighting()
    before = np.asarray(layer(x)["weights"])
    after = np.asarray(layer({**x, "b": x["b"] + 3})["weights"])
    np.testing.assert_allclose(after - before, [[0, 0.3]] * 4, atol=1e-6)
    double = layers.EnergyWeighting(scale=20.0)(x)["weights"]
    np.testing.assert_allclose(double, before / 2, rtol=1e-5)


def test_no_gradient_through_the_weights():
    x = logits()
    layer = layers.EnergyWeighting()
    found = testing.gradients(lambda y: layer(y)["logits"], layer, x)
    direction = np.random.default_rng(0).normal(size=(4, 5))
    weights = np.asarray(layer(x)["weights"])
    for index, name in enumerate("ab"):
        np.testing.assert_allclose(found[name], weights[:, [index]] * direction, rtol=1e-4)
    assert not any(
        np.any(g) for g in testing.gradients(lambda y: layer(y)["weights"], layer, x).values()
    )


def test_absent_has_weight_0_no_effect_and_no_gradient():
    x = logits()
    layer = layers.EnergyWeighting()
    mask = {"a": PRESENT, "b": POSITIONS}
    there = {"a": PRESENT[:, 0], "b": POSITIONS.any(1)}
    garbage = {name: np.where(there[name][:, None], x[name], np.nan) for name in x}
    outputs, expected = layer(garbage, mask=mask), layer(x, mask=mask)
    np.testing.assert_array_equal(outputs["logits"], expected["logits"])
    assert np.isfinite(outputs["logits"]).all()
    np.testing.assert_array_equal(
        np.asarray(outputs["weights"]) != 0, np.stack([there["a"], there["b"]], axis=1)
    )
    found = testing.gradients(lambda y: layer(y, mask=mask)["logits"], layer, x)
    for name in x:
        np.testing.assert_array_equal(found[name].any(-1), there[name])


def test_large_logits_in_float16():
    x = {"a": np.array([[6e4, -6e4]], "float16"), "b": np.array([[0, 1]], "float16")}
    outputs = layers.EnergyWeighting(dtype="mixed_float16")(x)
    assert outputs["logits"].dtype == "float32"
    np.testing.assert_allclose(outputs["weights"][0, 0], 5999.2, rtol=1e-3)  # 6e4 in float16


def test_errors():
    with pytest.raises(ValueError, match="`scale` must be above 0"):
        layers.EnergyWeighting(0)
    with pytest.raises(ValueError, match=r"must be \(B, C\), with one C"):
        layers.EnergyWeighting()({"a": floats(2, 3), "b": floats(2, 4)})
    with pytest.raises(ValueError, match="logits of at least 2 classes"):
        layers.EnergyWeighting()({"a": floats(2, 1), "b": floats(2, 1)})
    with pytest.raises(TypeError, match="`inputs` of EnergyWeighting must be a dict"):
        layers.EnergyWeighting()(floats(2, 3))
