"""Joint pooling against NumPy on all positions at once."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import floats, fusion_features

FEATURES = fusion_features(("a", "b"))
MASK = {"b": np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], "bool")}


def oracle(x, mode, score):
    if mode == "attention":
        powers = np.exp(x @ score)
        return (powers / powers.sum() * x).sum(axis=0)
    return x.max(axis=0) if mode == "max" else x.mean(axis=0)


@pytest.mark.parametrize("mode", ["mean", "max", "attention"])
def test_oracle(mode):
    layer = layers.JointFusion(mode)
    found = layer(FEATURES, mask=MASK)
    score = layer.pool.get_weights()[0] if mode == "attention" else None
    for n in range(4):
        x = np.concatenate([FEATURES["a"][n], FEATURES["b"][n][MASK["b"][n]]])
        np.testing.assert_allclose(found[n], oracle(x, mode, score), rtol=1e-5, atol=1e-6)


def test_one_width():
    with pytest.raises(ValueError, match="must all have one width D"):
        layers.JointFusion()({"a": floats(2, 3, 4), "b": floats(2, 3, 6)})
