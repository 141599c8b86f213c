"""Dropped modalities: how often, which, and never all."""

import numpy as np
import pytest

from mm_keras import layers

B = 4000
EVERYWHERE = {name: np.ones((B, 1), "bool") for name in "abc"}


def dropped(masks, rate, seed=0):
    y = layers.ModalityDropout(rate, seed=seed)(masks, training=True)
    return {name: np.array(mask) for name, mask in y.items()}


def test_identity_at_inference():
    layer = layers.ModalityDropout(0.9, seed=0)
    for y in (layer(EVERYWHERE), layer(EVERYWHERE, training=False)):
        for name, mask in EVERYWHERE.items():
            assert np.array_equal(y[name], mask)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_rate(rate):
    """Modality dropped: its draw is low, and it is not the one kept where all are low."""
    expected = rate - rate**3 / 3
    for mask in dropped(EVERYWHERE, rate).values():
        assert abs((~mask).mean() - expected) < 0.03


@pytest.mark.parametrize("rate", [0.5, 0.99])
def test_one_present_modality_stays(rate):
    rng = np.random.default_rng(0)
    masks = {name: rng.random((B, 1)) < 0.5 for name in "abc"}
    y = dropped(masks, rate)
    before = np.concatenate(list(masks.values()), axis=1)
    after = np.concatenate(list(y.values()), axis=1)
    assert not np.any(after & ~before)  # none appears
    assert np.array_equal(after.any(axis=1), before.any(axis=1))
    assert after.sum() < before.sum()
    assert np.any(before.sum(axis=1) == 0)


def test_the_one_kept_is_drawn_evenly():
    kept = np.concatenate(list(dropped(EVERYWHERE, 0.999).values()), axis=1)
    assert np.all(abs(kept.mean(axis=0) - 1 / 3) < 0.03)


def test_positions_are_dropped_together():
    rng = np.random.default_rng(0)
    masks = {"a": rng.random((B, 5)) < 0.7, "b": np.ones((B, 1), "bool")}
    y = dropped(masks, 0.5)
    whole = np.all(y["a"] == masks["a"], axis=1)
    assert np.all(whole | ~y["a"].any(axis=1))
    assert 0.3 < whole.mean() < 0.9


def test_seed():
    first, again = dropped(EVERYWHERE, 0.5, seed=1), dropped(EVERYWHERE, 0.5, seed=1)
    other = dropped(EVERYWHERE, 0.5, seed=2)
    assert np.array_equal(first["a"], again["a"])
    assert not np.array_equal(first["a"], other["a"])
    layer = layers.ModalityDropout(0.5, seed=1)
    steps = [np.array(layer(EVERYWHERE, training=True)["a"]) for _ in range(2)]
    assert not np.array_equal(*steps)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_arguments(rate):
    with pytest.raises(ValueError, match=r"`rate` must be at least 0\.0 and below 1.0"):
        layers.ModalityDropout(rate)
