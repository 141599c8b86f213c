"""Pooling of views against loops in NumPy, and what a view's share of it is."""

import numpy as np
import pytest

from mm_keras import layers
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats

SHAPES = {"vectors": (4, 3, 5), "sequences": (4, 3, 6, 5), "maps": (4, 3, 2, 3, 5)}
SHARPNESS = 2.0
GROUPS = 3


def pooling(mode, dtype="float32"):
    return layers.ViewPooling(mode, sharpness=SHARPNESS, groups=GROUPS, dtype=dtype)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def group_weights(scores, groups=GROUPS):
    """Each view's weight, group after group, as Feng et al. have it."""
    discrimination = 1 / (1 + np.exp(-scores))
    edges = np.linspace(0, 1, groups + 1)[1:-1]
    numbers = np.digitize(discrimination, edges)
    weights = np.zeros(len(scores))
    for number in set(numbers):
        members = numbers == number
        weights[members] = discrimination[members].mean() / members.sum()
    return weights / sum(discrimination[numbers == number].mean() for number in set(numbers))


def oracle(x, mask, mode, score=None):
    """Pools each sample's views in a loop; returns pooled features and saliency."""
    pooled, saliency = [], []
    for sample, kept in zip(x, np.broadcast_to(mask, x.shape[:2]), strict=True):
        there, share = sample[kept].astype("float64"), np.zeros(x.shape[1])
        if not len(there):
            pooled.append(np.zeros(x.shape[2:]))
        elif mode == "max":
            pooled.append(there.max(axis=0))
            winners = there.argmax(axis=0)
            share[kept] = [(winners == view).mean() for view in range(len(there))]
        elif mode == "mean":
            pooled.append(there.mean(axis=0))
            share[kept] = 1 / len(there)
        elif mode == "logsumexp":
            pooled.append(np.log(np.exp(SHARPNESS * there).mean(axis=0)) / SHARPNESS)
            share[kept] = softmax(SHARPNESS * there).reshape(len(there), -1).mean(axis=1)
        else:
            means = there.reshape(len(there), -1, x.shape[-1]).mean(axis=1)
            scores = (means @ score)[:, 0]
            share[kept] = softmax(scores) if mode == "attention" else group_weights(scores)
            pooled.append(np.tensordot(share[kept], there, axes=1))
        saliency.append(share)
    return np.stack(pooled), np.stack(saliency)


@pytest.mark.parametrize("mask", [None, POSITIONS, PRESENT], ids=["no mask", "(B, V)", "(B, 1)"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_oracle(mode, shape, mask):
    x = floats(*SHAPES[shape]) - 2  # mostly negative: a zero from a masked view would win
    layer = pooling(mode)
    pooled, saliency = layer(x, mask=mask, return_saliency=True)
    score = layer.score.numpy() if mode in ("attention", "group") else None
    kept = np.ones((4, 3), "bool") if mask is None else mask
    expected, share = oracle(x, kept, mode, score)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(saliency, share, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(x, mask=mask), pooled)


@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_order_of_views_changes_nothing(mode):
    x = floats(4, 3, 2, 2, 5)
    layer, order = pooling(mode), [2, 0, 1]
    pooled, saliency = layer(x, mask=POSITIONS, return_saliency=True)
    permuted, share = layer(x[:, order], mask=POSITIONS[:, order], return_saliency=True)
    np.testing.assert_allclose(permuted, pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(share, np.asarray(saliency)[:, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_one_view_is_itself(mode):
    x = floats(4, 1, 2, 2, 5)
    np.testing.assert_allclose(pooling(mode)(x), x[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_every_view_twice_changes_nothing(mode):
    x = floats(4, 3, 2, 2, 5)
    layer = pooling(mode)
    pooled, saliency = layer(x, return_saliency=True)
    twice, share = layer(np.concatenate([x, x], axis=1), return_saliency=True)
    np.testing.assert_allclose(twice, pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(share, np.tile(saliency, 2) / 2, rtol=1e-5, atol=1e-6)


def test_one_view_twice_changes_the_maximum_only_in_name():
    x = floats(4, 3, 2, 2, 5)
    more = np.concatenate([x, x[:, 1:2]], axis=1)
    np.testing.assert_array_equal(pooling("max")(more), pooling("max")(x))
    assert np.abs(pooling("mean")(more) - pooling("mean")(x)).max() > 0.1


@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_masked_views_have_no_effect_and_no_gradient(mode):
    x = floats(4, 3, 2, 2, 5)
    layer = pooling(mode)
    expected, share = map(np.asarray, layer(x, mask=POSITIONS, return_saliency=True))
    for what in (np.nan, np.inf, -np.inf, 1e30):
        x[~POSITIONS] = what
        pooled, saliency = layer(x, mask=POSITIONS, return_saliency=True)
        np.testing.assert_array_equal(pooled, expected)
        np.testing.assert_array_equal(saliency, share)
        gradient = gradients(lambda t: layer(t["x"], mask=POSITIONS), layer, {"x": x})["x"]
        assert np.isfinite(gradient).all()
        assert not gradient[~POSITIONS].any()
        assert gradient[POSITIONS].any()
    left_out = layer(np.delete(x, 1, axis=1)[1:2])  # the second sample lacks its middle view
    np.testing.assert_allclose(left_out, expected[1:2], rtol=1e-5, atol=1e-6)


def upstream(layer, x):
    """The gradient of `gradients` where it enters the layer: that of a sum of random factors."""
    found = gradients(
        lambda t: layer(x) + t["pooled"], None, {"pooled": np.zeros((4, 2, 2, 5), "float32")}
    )
    return found["pooled"]


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_gradient(mode):
    x = floats(4, 3, 2, 2, 5)
    layer = pooling(mode)
    gradient = gradients(lambda t: layer(t["x"]), layer, {"x": x})["x"]
    whole = upstream(layer, x)
    assert whole.any()
    np.testing.assert_allclose(gradient.sum(axis=1), whole, rtol=1e-5, atol=1e-6)
    if mode == "max":
        winner = x == x.max(axis=1, keepdims=True)
        assert not gradient[~winner].any()
        assert gradient[winner].all()
    else:
        np.testing.assert_allclose(
            gradient, np.repeat(whole[:, None] / 3, 3, axis=1), rtol=1e-5, atol=1e-6
        )


def test_logsumexp_lies_between_mean_and_maximum():
    x = floats(4, 3, 2, 2, 5)
    mean, highest = np.asarray(pooling("mean")(x)), np.asarray(pooling("max")(x))
    before = mean
    for sharpness in (0.1, 1.0, 10.0):
        pooled = np.asarray(layers.ViewPooling("logsumexp", sharpness)(x))
        assert (pooled > before).all()
        before = pooled
    assert (before < highest).all()
    for sharpness, limit in ((1e-3, mean), (1e4, highest)):
        pooled = layers.ViewPooling("logsumexp", sharpness)(x)
        np.testing.assert_allclose(pooled, limit, atol=5e-3)


def test_ties_of_the_maximum_are_split_evenly():
    x = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [9.0, 9.0]]], "float32")
    mask = np.array([[True, True, True, False]])
    _, saliency = pooling("max")(x, mask=mask, return_saliency=True)
    np.testing.assert_allclose(saliency, [[5 / 12, 5 / 12, 2 / 12, 0]], rtol=1e-6)


def group_pooling(x, groups, factor=1.0):
    layer = layers.ViewPooling("group", groups=groups)
    layer.build(x.shape)
    layer.set_weights([factor * np.linspace(-1, 2, x.shape[-1], dtype="float32")[:, None]])
    return layer


@pytest.mark.parametrize("mask", [None, POSITIONS], ids=["no mask", "(B, V)"])
def test_one_group_is_the_mean(mask):
    x = floats(4, 3, 2, 2, 5)
    layer = group_pooling(x, groups=1)
    pooled, saliency = layer(x, mask=mask, return_saliency=True)
    mean, equal = pooling("mean")(x, mask=mask, return_saliency=True)
    np.testing.assert_allclose(pooled, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(saliency, equal, rtol=1e-5)
    assert np.abs(group_pooling(x, groups=4)(x, mask=mask) - mean).max() > 0.01


def test_groups_are_weighed_by_score_and_views_within_them_alike():
    x = np.array([[[-1.0], [-1.1], [2.0], [-1.2]]], "float32")  # σ: .27, .25, .88, .23
    layer = layers.ViewPooling("group", groups=2)
    layer.build(x.shape)
    layer.set_weights([np.ones((1, 1))])
    _, saliency = layer(x, return_saliency=True)
    low, high = np.mean(1 / (1 + np.exp([1.0, 1.1, 1.2]))), 1 / (1 + np.exp(-2.0))
    expected = [low / 3, low / 3, high, low / 3] / (low + high)
    np.testing.assert_allclose(saliency, [expected], rtol=1e-5)


def test_scores_of_groups_learn_unless_all_views_are_in_one():
    x = floats(4, 3, 2, 2, 5)
    largest = {}
    for groups in (1, 8):
        layer = group_pooling(x, groups)
        (gradient,) = gradients(lambda layer=layer: layer(x), layer).values()
        largest[groups] = np.abs(gradient).max()
    assert largest[1] < 1e-5
    assert largest[8] > 1e-3


@pytest.mark.parametrize("sign", [-1, 1])
def test_groups_of_scores_at_the_limits(sign):
    x = np.full((1, 3, 5), 100.0, "float32") * np.array([1, 2, 3]).reshape(1, 3, 1)
    layer = group_pooling(x, groups=4, factor=sign * 100.0)
    pooled, saliency = layer(x, return_saliency=True)
    np.testing.assert_allclose(pooled, x.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(saliency, np.full((1, 3), 1 / 3), rtol=1e-5)


@pytest.mark.parametrize("views", [2, 7])
@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_weights_do_not_depend_on_the_number_of_views(mode, views):
    three, other = pooling(mode), pooling(mode)
    three.build((None, 3, 4, 5))
    other.build((None, views, 4, 5))
    other.set_weights(three.get_weights())
    x = np.repeat(floats(4, 1, 4, 5), views, axis=1)
    np.testing.assert_allclose(other(x), three(x[:, :1].repeat(3, axis=1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [None, POSITIONS], ids=["no mask", "(B, V)"])
@pytest.mark.parametrize("mode", VIEW_POOLINGS)
def test_float16_is_stable(mode, mask):
    x = np.full((4, 3, 50, 50, 2), 6e4, "float16")
    x[..., 1] = -6e4
    layer = pooling(mode, "mixed_float16")
    pooled, saliency = layer(x, mask=mask, return_saliency=True)
    assert pooled.dtype == "float16"
    assert saliency.dtype == "float32"
    there = np.ones(4, "bool") if mask is None else mask.any(axis=1)
    np.testing.assert_allclose(pooled, x[:, 0] * there.reshape(4, 1, 1, 1), rtol=1e-3)
    np.testing.assert_allclose(np.sum(saliency, axis=1), there, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.ViewPooling("meen"), ValueError, "`mode` must be one of .*'mean'"),
        (lambda: layers.ViewPooling(sharpness="a"), TypeError, "`sharpness` must be a number"),
        (lambda: layers.ViewPooling(sharpness=-1), ValueError, "`sharpness` must be at least 0"),
        (lambda: layers.ViewPooling(sharpness=0), ValueError, "`sharpness` must be above 0"),
        (
            lambda: layers.ViewPooling(sharpness=float("inf")),
            ValueError,
            "`sharpness` must be at least 0",
        ),
        (lambda: layers.ViewPooling(groups=0), ValueError, "`groups` must be an integer of at le"),
        (lambda: layers.ViewPooling(groups=2.5), TypeError, "`groups` must be an integer"),
        (lambda: layers.ViewPooling()(floats(2, 3)), ValueError, r"must be \(B, V, …, D\).*\(2, 3"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
