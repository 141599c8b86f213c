"""Gates applied where they were not computed."""

import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import POSITIONS, floats


def test_oracle_in_the_order_of_the_sorted_names():
    features = {"b": floats(4, 3, 5), "a": floats(4, 2, 6, seed=1)}
    gates = floats(4, 2, seed=2)
    outputs = layers.ApplyGates()(features, gates, mask={"b": POSITIONS})
    for b in range(4):
        expected = gates[b, 0] * features["a"][b]
        np.testing.assert_allclose(outputs["a"][b], expected, rtol=1e-5)
        expected = gates[b, 1] * features["b"][b] * POSITIONS[b][:, None]
        np.testing.assert_allclose(outputs["b"][b], expected, rtol=1e-5)


def test_scales_as_the_gate_does_itself():
    features = {name: floats(4, 3, 8, seed=index) for index, name in enumerate("abc")}
    gate = layers.ModalityGate("top_k")
    mask = {"a": POSITIONS}
    gated = gate(features, mask=mask)
    outputs = layers.ApplyGates()(features, gated["gates"], mask=mask)
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, gated["features"][name])


def test_absent_has_no_effect_and_no_gradient():
    features = {"a": floats(4, 3, 5), "b": floats(4, 3, 5, seed=1)}
    layer, gates, mask = layers.ApplyGates(), floats(4, 2), {"a": POSITIONS}
    garbage = {**features, "a": np.where(POSITIONS[..., None], features["a"], np.nan)}
    outputs, expected = layer(garbage, gates, mask=mask), layer(features, gates, mask=mask)
    np.testing.assert_array_equal(outputs["a"], expected["a"])
    found = testing.gradients(lambda x: layer(x, gates, mask=mask), layer, features)
    np.testing.assert_array_equal(np.any(found["a"], axis=-1), POSITIONS)


def test_as_many_gates_as_modalities():
    with pytest.raises(ValueError, match=r"`gates` of ApplyGates must be \(B, 1\), one for each"):
        layers.ApplyGates()({"a": floats(2, 1, 3)}, floats(2, 2))
