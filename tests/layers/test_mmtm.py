"""The multimodal transfer module."""

import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import POSITIONS, PRESENT, floats


def inputs():
    return {"a": floats(4, 3, 6), "b": floats(4, 2, 4, seed=1)}


def made():
    layer = layers.MMTM(2)
    layer(inputs())
    layer.set_weights([floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer


def oracle(layer, features, mask):
    """`u_m = 2σ(W_m relu(W [mean(f_1); …]) + b_m) ⊙ f_m`, sample by sample."""
    outputs = {name: np.zeros_like(x) for name, x in features.items()}
    kernel, bias = layer.squeeze.get_weights()
    for b in range(4):
        kept = {name: features[name][b] * mask[name][b][:, None] for name in layer.names}
        means = [kept[name].sum(0) / max(mask[name][b].sum(), 1) for name in layer.names]
        z = np.maximum(np.concatenate(means) @ kernel + bias, 0)
        for name, excitation in zip(layer.names, layer.excitations, strict=True):
            w, c = excitation.get_weights()
            outputs[name][b] = kept[name] * 2 / (1 + np.exp(-(z @ w + c)))
    return outputs


@pytest.mark.parametrize("masked", [False, True])
def test_oracle(masked):
    layer, features = made(), inputs()
    mask = {"a": POSITIONS, "b": PRESENT} if masked else {}
    full = {n: np.broadcast_to(mask.get(n, True), x.shape[:2]) for n, x in features.items()}
    outputs, expected = layer(features, mask=mask or None), oracle(layer, features, full)
    for name in features:
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-4, atol=1e-5)


def test_starts_as_the_identity():
    features = inputs()
    for name, output in layers.MMTM()(features).items():
        np.testing.assert_array_equal(output, features[name])


def test_each_modality_recalibrates_the_other():
    layer, features = made(), inputs()
    other = layer({**features, "b": features["b"] + 1})
    assert np.abs(other["a"] - layer(features)["a"]).max() > 1e-3


def test_absent_is_zero_without_gradient_or_effect():
    layer, features = made(), inputs()
    mask = {"b": PRESENT}
    garbage = {**features, "b": np.where(PRESENT[..., None], features["b"], np.nan)}
    outputs, expected = layer(garbage, mask=mask), layer(features, mask=mask)
    for name in features:
        np.testing.assert_array_equal(outputs[name], expected[name])
    assert not np.any(np.asarray(outputs["b"])[1])
    found = testing.gradients(lambda x: layer(x, mask=mask), layer, features)
    assert not np.any(found["b"][1])
    assert np.any(found["b"][0])


def test_errors():
    with pytest.raises(ValueError, match="`ratio` must be an integer of at least 1"):
        layers.MMTM(0)
    with pytest.raises(ValueError, match="`features` of MMTM must have at least 2 modalities"):
        layers.MMTM()({"a": floats(2, 1, 3)})
    with pytest.raises(ValueError, match=r"must be sequences \(B, N, D\)"):
        layers.MMTM()({"a": floats(2, 3), "b": floats(2, 3)})
