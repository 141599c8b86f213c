"""Contrastive learning in the graph: which losses, over which pairs, with which positives."""

import itertools
import math

import keras
import numpy as np
import pytest

from mm_keras import losses
from mm_keras.layers import ContrastiveLearning, HardNegatives, MatchLoss, UnitEmbedding
from mm_keras.layers.contrastive_learning import CONTRASTS
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype("float32")


X = {name: unit(floats(4, 6, seed=seed)) for seed, name in enumerate("abc")}
IDS = np.array([[3], [5], [3], [7]], "int32")
MASK = {"a": POSITIONS, "b": PRESENT}  # samples 1 and 3 lack something


def loss_of(layer, x=X, **kwargs):
    layer(x, training=True, **kwargs)
    return float(layer.losses[0])


def oracle(loss, positives, kept, a, b):
    s = X[a] @ X[b].T
    options = {
        "info_nce": (losses.info_nce, {}),
        "siglip": (losses.siglip, {}),
        "vse": (losses.vse, {"margin": 0.4, "hardness": 0.5}),
        "triplet": (losses.triplet, {"margin": 0.4}),
    }
    function, options = options[loss]
    values = np.asarray(function(positives, s, kept, **options))
    partners = positives & kept
    return values.sum() / (partners.any(0) | partners.any(1)).sum()


@pytest.mark.parametrize("anchor", [None, "b"], ids=["all pairs", "anchor"])
@pytest.mark.parametrize("ids", [None, IDS], ids=["diagonal", "ids"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("loss", CONTRASTS)
def test_oracle_over_pairs(loss, mask, ids, anchor):
    pairs = [("a", "b"), ("b", "c")] if anchor else itertools.combinations("abc", 2)
    positives = np.eye(4, dtype="bool") if ids is None else ids == ids.T
    present = {name: np.ones(4, "bool") for name in "abc"}
    if mask:
        present |= {"a": POSITIONS.any(1), "b": PRESENT[:, 0]}
    expected = np.mean(
        [oracle(loss, positives, present[a][:, None] & present[b][None], a, b) for a, b in pairs]
    )
    layer = ContrastiveLearning(loss, weight=2.0, margin=0.4, hardness=0.5, anchor=anchor)
    np.testing.assert_allclose(loss_of(layer, mask=mask, ids=ids), 2 * expected, rtol=1e-4)


@pytest.mark.parametrize("loss", CONTRASTS)
def test_absent_samples_have_no_effect_and_no_gradient(loss):
    present = {"a": POSITIONS.any(1), "b": PRESENT[:, 0], "c": np.ones(4, "bool")}
    spoilt = {n: np.where(present[n][:, None], x, np.nan).astype("float32") for n, x in X.items()}
    layer = ContrastiveLearning(loss)
    assert loss_of(layer, spoilt, mask=MASK) == loss_of(ContrastiveLearning(loss), mask=MASK)

    def added(x):
        layer(x, mask=MASK, training=True)
        return {}  # the loss alone

    found = gradients(added, layer, spoilt)
    for name in "abc":
        assert np.isfinite(found[name]).all()
        assert not found[name][~present[name]].any()


def test_it_acts_in_training_only():
    layer = ContrastiveLearning()
    outputs = layer(X, training=False)
    assert not layer.losses
    for name, x in X.items():
        np.testing.assert_array_equal(outputs[name], x)


def test_a_batch_of_one_has_nobody_to_be_told_from():
    alone = {name: x[:1] for name, x in X.items()}
    for loss in ("info_nce", "vse", "triplet"):
        assert loss_of(ContrastiveLearning(loss), alone) == pytest.approx(0, abs=1e-6)


def test_learnt_scale_starts_where_told_and_stops_at_100():
    layer = ContrastiveLearning("info_nce")
    loss_of(layer)
    assert float(keras.ops.exp(layer.log_scale)) == pytest.approx(1 / 0.07, rel=1e-5)
    assert len(layer.trainable_weights) == 1
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.apply([np.float32(-50.0)], [layer.log_scale])
    assert float(layer.log_scale) == pytest.approx(math.log(100))
    siglip = ContrastiveLearning("siglip")
    loss_of(siglip)
    start = float(keras.ops.exp(siglip.log_scale)), float(siglip.bias)
    assert start == pytest.approx((10, -10), rel=1e-5)


def test_hardness_of_vse_is_a_weight():
    layer = ContrastiveLearning("vse", margin=0.5)
    hardest = loss_of(layer)
    layer.current_hardness.assign(0.0)
    layer(X, training=True)
    assert float(layer.losses[-1]) > hardest
    assert not layer.trainable_weights


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ContrastiveLearning("clip"), ValueError, "`loss` must be one of"),
        (lambda: ContrastiveLearning(temperature=0), ValueError, "`temperature` must be above 0"),
        (lambda: ContrastiveLearning(temperature=0.001), ValueError, "must be at least 0.01"),
        (
            lambda: ContrastiveLearning("vse", temperature=0.1),
            ValueError,
            "`temperature` must be None for a loss with a margin.*'vse'",
        ),
        (lambda: ContrastiveLearning("vse", margin=-0.2), ValueError, "`margin` must be at least"),
        (lambda: ContrastiveLearning(hardness=2.0), ValueError, "`hardness` must be in"),
        (lambda: ContrastiveLearning(weight=-1.0), ValueError, "`weight` must be at least"),
        (lambda: ContrastiveLearning()({"a": X["a"]}), ValueError, "two modalities or more"),
        (lambda: ContrastiveLearning(anchor="d")(X), ValueError, r"`anchor` must.*Received.*'d'"),
        (lambda: ContrastiveLearning()(X["a"]), TypeError, "must be a dict"),
        (
            lambda: ContrastiveLearning()({"a": X["a"], "b": X["b"][:, :3]}),
            ValueError,
            "with one width E",
        ),
        (lambda: loss_of(ContrastiveLearning(), mask={"x": PRESENT}), ValueError, "`mask` must"),
        (lambda: HardNegatives(0.0), ValueError, "`temperature` must be above 0"),
        (lambda: MatchLoss(-1.0), ValueError, "`weight` must be at least"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_hard_negatives_are_wrong_present_and_alike():
    u = unit(np.concatenate([np.eye(4), np.eye(4) + 0.1]))  # i and i + 4 are alike
    v = np.arange(8, dtype="float32")[:, None]
    present = np.array([[1]] * 7 + [[0]], "bool")
    v_like_u = np.concatenate([v, u], axis=1)
    u_with_number = np.concatenate([v, 0 * u], axis=1) * 0 + np.concatenate([0 * v, u], axis=1)
    layer = HardNegatives(temperature=0.01, seed=0)
    many_u, many_v, kept = layer([u_with_number, v_like_u, present], training=True)
    drawn = np.asarray(many_v)[8:16, 0]
    np.testing.assert_array_equal(np.asarray(many_v)[:8, 0], np.arange(8))
    np.testing.assert_array_equal(np.asarray(many_v)[16:, 0], np.arange(8))
    np.testing.assert_array_equal(np.asarray(many_u)[:16], np.tile(u_with_number, (2, 1)))
    np.testing.assert_array_equal(kept[:, 0], np.tile(present[:, 0], 3))
    np.testing.assert_array_equal(drawn[:3], [4, 5, 6])  # the look-alikes,
    np.testing.assert_array_equal(drawn[4:7], [0, 1, 2])
    assert drawn[3] not in (3, 7)  # but never itself, nor one that is absent


def test_rows_of_one_id_are_no_negatives():
    ids = np.array([[1], [1], [2], [2]])
    v = np.arange(4, dtype="float32")[:, None]
    present = np.ones((4, 1), "bool")
    layer = HardNegatives(temperature=100.0, seed=0)
    drawn = [
        np.asarray(layer([v, v, present], ids=ids, training=True)[1])[4:8, 0] for _ in range(20)
    ]
    assert set(np.ravel([row[:2] for row in drawn])) == {2, 3}
    assert set(np.ravel([row[2:] for row in drawn])) == {0, 1}
    kept = layer([v, v, present], ids=np.ones((4, 1)), training=True)[2]
    np.testing.assert_array_equal(kept[:, 0], [True] * 4 + [False] * 8)  # nobody to confuse


def test_match_loss_oracle():
    logits, kept = floats(9, 1), np.array([1, 0, 1, 1, 1, 0, 1, 1, 1], "bool")[:, None]
    layer = MatchLoss(2.0)
    outputs = layer(logits, kept, training=True)
    np.testing.assert_array_equal(outputs, logits[:3])
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])[:, None]
    probability = 1 / (1 + np.exp(-logits))
    values = -np.where(labels, np.log(probability), np.log(1 - probability))
    np.testing.assert_allclose(layer.losses[0], 2 * values[kept].mean(), rtol=1e-5)
    np.testing.assert_array_equal(layer(logits, kept), logits)


def test_unit_embedding():
    x = floats(4, 6)
    expected = np.where(POSITIONS.any(1)[:, None], unit(x), 0)
    spoilt = np.where(POSITIONS.any(1)[:, None], x, np.nan)
    np.testing.assert_allclose(UnitEmbedding()(spoilt, mask=POSITIONS), expected, rtol=1e-5)
    for scale in (6e4, 1e-7):
        found = UnitEmbedding()(np.full((2, 8), scale, "float16"))
        np.testing.assert_allclose(found, np.full((2, 8), 8**-0.5), rtol=1e-3)
    zeros = gradients(lambda t: UnitEmbedding()(t["x"]), None, {"x": np.zeros((2, 3), "float32")})
    assert np.isfinite(zeros["x"]).all()
