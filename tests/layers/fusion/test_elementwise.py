"""Sum, mean and maximum."""

import numpy as np
import pytest

from mm_keras import layers
from tests.conformance.cases import fusion_features

FEATURES = {name: array - 2 for name, array in fusion_features().items()}  # mostly negative
POOLED = np.stack([FEATURES[name].mean(1) for name in sorted(FEATURES)], axis=1)  # (B, M, D)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_oracle(mode):
    expected = getattr(POOLED, mode)(axis=1)
    y = layers.ElementwiseFusion(mode)(FEATURES)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_over_the_modalities_present(mode):
    present = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], "bool")
    mask = {name: present[:, i : i + 1] for i, name in enumerate(sorted(FEATURES))}
    y = layers.ElementwiseFusion(mode)(FEATURES, mask=mask)
    for row in range(3):
        expected = getattr(POOLED[row][present[row]], mode)(axis=0)
        np.testing.assert_allclose(y[row], expected, rtol=1e-5, atol=1e-6)
    assert not np.any(y[3])


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"`mode` must be one of .* Did you mean 'max'"):
        layers.ElementwiseFusion("maxx")
