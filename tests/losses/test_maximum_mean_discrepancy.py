"""How far features of the source are from those of the target."""

import numpy as np
import pytest

from mm_keras import losses
from tests.conformance.cases import floats


def oracle(source, target):
    x = np.concatenate([source, target])
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    kernel = np.mean([np.exp(-squares / (c * squares.mean())) for c in (0.25, 0.5, 1, 2, 4)], 0)
    n = len(source)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def test_value():
    x = floats(9, 4)
    domains = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])
    expected = oracle(x[domains == 0], x[domains == 1])
    loss = losses.MaximumMeanDiscrepancy()
    np.testing.assert_allclose(loss(domains, x), expected, rtol=1e-4)
    np.testing.assert_allclose(loss(1 - domains, x + 100.0), expected, rtol=1e-3)


def test_several_sources_are_averaged_and_missing_ones_left_out():
    x = floats(9, 4)
    domains = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    loss = losses.MaximumMeanDiscrepancy(target=2)
    # The bandwidth is that of the whole batch: move the sources to equal places.
    x[3:6] = x[:3]
    one = losses.maximum_mean_discrepancy(domains, x, 2)[0]
    assert one > 0.1
    np.testing.assert_allclose(loss(domains, x), one, rtol=1e-6)
    np.testing.assert_allclose(
        loss(np.where(domains == 1, 0, domains), x), one, rtol=1e-5
    )  # the same samples twice
    assert float(loss(np.zeros(9, int), x)) == 0.0
    assert float(loss(np.full(9, 2), x)) == 0.0


def test_zero_for_equal_sets_and_more_the_farther_they_are():
    x = floats(6, 3)
    domains = np.repeat([0, 1], 6)
    loss = losses.MaximumMeanDiscrepancy()
    found = [float(loss(domains, np.concatenate([x, x[::-1] + shift]))) for shift in (0, 1, 3)]
    np.testing.assert_allclose(found[0], 0.0, atol=1e-6)
    assert found[0] < found[1] < found[2]


def test_errors():
    with pytest.raises(ValueError, match="`target` must be an integer of at least 1"):
        losses.MaximumMeanDiscrepancy(target=0)
    with pytest.raises(ValueError, match="`y_true` must be domain numbers"):
        losses.MaximumMeanDiscrepancy()(floats(4, 2), floats(4, 2))
