"""Dropped views: how often, which, never all."""

import numpy as np
import pytest

from mm_keras import layers

B = 4000
ALL = np.ones((B, 4), "bool")
SOME = np.random.default_rng(0).random((B, 4)) < 0.5


def kept(present, rate, seed=0):
    return np.array(layers.ViewDropout(rate, seed=seed)(present, training=True))


def test_identity_at_inference():
    layer = layers.ViewDropout(0.9, seed=0)
    for y in (layer(SOME), layer(SOME, training=False)):
        np.testing.assert_array_equal(y, SOME)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_rate(rate):
    """A view is dropped where its draw is low, unless it is the one kept where all are low."""
    expected = rate - rate**4 / 4
    assert (abs((~kept(ALL, rate)).mean(axis=0) - expected) < 0.03).all()


@pytest.mark.parametrize("rate", [0.5, 0.99])
def test_one_view_that_is_there_stays(rate):
    after = kept(SOME, rate)
    assert not (after & ~SOME).any()  # none appears
    np.testing.assert_array_equal(after.any(axis=1), SOME.any(axis=1))
    assert after.sum() < SOME.sum()
    assert (SOME.sum(axis=1) == 0).any()


def test_the_one_kept_is_drawn_evenly():
    assert (abs(kept(ALL, 0.999).mean(axis=0) - 1 / 4) < 0.03).all()


def test_seed():
    np.testing.assert_array_equal(kept(ALL, 0.5, seed=1), kept(ALL, 0.5, seed=1))
    assert (kept(ALL, 0.5, seed=1) != kept(ALL, 0.5, seed=2)).any()
    layer = layers.ViewDropout(0.5, seed=1)
    assert (np.array(layer(ALL, training=True)) != np.array(layer(ALL, training=True))).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_arguments(rate):
    with pytest.raises(ValueError, match=r"`rate` must be at least 0\.0 and below 1.0"):
        layers.ViewDropout(rate)
