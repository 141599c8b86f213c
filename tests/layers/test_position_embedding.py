"""Learnt positions."""

import numpy as np

from mm_keras import layers
from tests.conformance.cases import floats


def test_oracle():
    x = floats(2, 3, 4)
    layer = layers.PositionEmbedding()
    y = layer(x)
    (position,) = layer.get_weights()
    assert position.shape == (3, 4)
    assert np.all(position.std(axis=0) > 0)  # positions differ from the start
    np.testing.assert_allclose(y, x + position, rtol=1e-6)
