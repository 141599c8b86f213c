"""Losses of similarity matrices: NumPy oracles with loops, closed forms, behaviour."""

import keras
import numpy as np
import pytest

from mm_keras import losses
from mm_keras.testing import gradients
from tests.conformance.cases import floats

B = 5
S = np.tanh(floats(B, B))
EYE = np.eye(B, dtype="float32")
SEVERAL = EYE.copy()
SEVERAL[0, 3] = SEVERAL[3, 0] = SEVERAL[1, 4] = 1
MASK = np.ones((B, B), "bool")
MASK[2] = False  # sample 2 lacks one modality,
MASK[:, 4] = False  # sample 4 the other
MASK[0, 1] = False


def oracle_info_nce(positives, s, mask, temperature=0.07):
    def row(p, s, m):
        p = p.astype("bool") & m
        if not p.any():
            return 0.0
        total = np.log(np.exp(s[m] / temperature).sum())
        return np.mean([total - s[j] / temperature for j in np.flatnonzero(p)])

    return both(row, positives, s, mask, mean=True)


def oracle_siglip(positives, s, mask, temperature=0.1, bias=-10.0):
    values = np.zeros(B)
    for i in range(B):
        for j in range(B):
            if mask[i, j]:
                z = 1 if positives[i, j] else -1
                loss = np.log1p(np.exp(-z * (s[i, j] / temperature + bias)))
                values[i] += loss / 2
                values[j] += loss / 2
    return values


def oracle_vse(positives, s, mask, margin=0.2, hardness=1.0):
    def row(p, s, m):
        pos, neg = np.flatnonzero(p.astype("bool") & m), np.flatnonzero(~p.astype("bool") & m)
        if not len(pos) or not len(neg):
            return 0.0
        values = []
        for k in pos:
            hinges = [max(0.0, margin + s[n] - s[k]) for n in neg]
            values.append(hardness * max(hinges) + (1 - hardness) * sum(hinges))
        return np.mean(values)

    return both(row, positives, s, mask, mean=False)


def oracle_triplet(positives, s, mask, margin=0.2, mining="semi_hard"):
    def row(p, s, m):
        pos, neg = np.flatnonzero(p.astype("bool") & m), np.flatnonzero(~p.astype("bool") & m)
        if not len(pos) or not len(neg):
            return 0.0
        values = []
        for k in pos:
            if mining == "all":
                values.append(np.mean([max(0.0, margin + s[n] - s[k]) for n in neg]))
                continue
            below = [s[n] for n in neg if s[n] < s[k]]
            chosen = max(below) if below else min(s[n] for n in neg)
            values.append(max(0.0, margin + chosen - s[k]))
        return np.mean(values)

    return both(row, positives, s, mask, mean=True)


def both(row, positives, s, mask, mean):
    """Rows and columns of each sample; their mean is over directions that have a positive."""
    values = np.zeros(B)
    for i in range(B):
        directions = [
            (positives[i], s[i], mask[i]),
            (positives[:, i], s[:, i], mask[:, i]),
        ]
        counted = sum((p.astype("bool") & m).any() for p, _, m in directions)
        values[i] = sum(row(*direction) for direction in directions)
        values[i] /= max(counted, 1) if mean else 1
    return values


CASES = [
    (losses.info_nce, oracle_info_nce, {"temperature": 0.5}),
    (losses.info_nce, oracle_info_nce, {}),
    (losses.siglip, oracle_siglip, {}),
    (losses.siglip, oracle_siglip, {"temperature": 1.0, "bias": 0.5}),
    (losses.vse, oracle_vse, {}),
    (losses.vse, oracle_vse, {"margin": 0.7, "hardness": 0.0}),
    (losses.vse, oracle_vse, {"margin": 0.7, "hardness": 0.25}),
    (losses.triplet, oracle_triplet, {"margin": 0.5}),
    (losses.triplet, oracle_triplet, {"margin": 0.5, "mining": "all"}),
]
IDS = [f"{case[0].__name__}-{index}" for index, case in enumerate(CASES)]


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("positives", [EYE, SEVERAL], ids=["diagonal", "several"])
@pytest.mark.parametrize(("loss", "oracle", "options"), CASES, ids=IDS)
def test_oracle(loss, oracle, options, positives, mask):
    found = loss(positives, S, mask, **options)
    everything = np.ones((B, B), "bool") if mask is None else mask
    expected = oracle(positives, S, everything, **options)
    assert np.any(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("loss", "oracle", "options"), CASES, ids=IDS)
def test_swapping_the_modalities_changes_nothing(loss, oracle, options):
    found = loss(SEVERAL, S, MASK, **options)
    np.testing.assert_allclose(loss(SEVERAL.T, S.T, MASK.T, **options), found, rtol=1e-5)


@pytest.mark.parametrize(("loss", "oracle", "options"), CASES, ids=IDS)
def test_what_a_mask_leaves_out_has_no_effect_and_no_gradient(loss, oracle, options):
    spoilt = np.where(MASK, S, 50.0).astype("float32")
    expected = np.asarray(loss(SEVERAL, S, MASK, **options))
    np.testing.assert_array_equal(loss(SEVERAL, spoilt, MASK, **options), expected)
    found = gradients(lambda x: loss(SEVERAL, x["s"], MASK, **options), None, {"s": spoilt})["s"]
    assert np.isfinite(found).all()
    assert np.any(found)
    assert not found[~MASK].any()


@pytest.mark.parametrize("loss", [losses.info_nce, losses.siglip, losses.vse, losses.triplet])
def test_nobody_to_match_is_no_loss(loss):
    nobody = np.zeros((B, B), "bool")
    found = gradients(lambda x: loss(EYE, x["s"], nobody), None, {"s": S})["s"]
    np.testing.assert_array_equal(loss(EYE, S, nobody), 0)
    np.testing.assert_array_equal(found, 0)


def test_info_nce_of_equal_similarities_is_the_logarithm_of_the_batch():
    np.testing.assert_allclose(losses.info_nce(EYE, np.full((B, B), 0.3)), np.log(B), rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
def test_info_nce_of_orthonormal_pairs(scale):
    found = losses.InfoNCE(temperature=1 / scale)(EYE, EYE)
    np.testing.assert_allclose(found, np.log1p((B - 1) * np.exp(-scale)), rtol=1e-4, atol=1e-6)


def test_siglip_without_scale_and_bias():
    found = losses.siglip(EYE, S, temperature=float("inf"), bias=0.0)
    np.testing.assert_allclose(np.mean(found), B * np.log(2), rtol=1e-5)


def test_siglip_of_orthonormal_pairs_at_its_start():
    expected = np.log(2) + (B - 1) * np.log1p(np.exp(-10))
    np.testing.assert_allclose(losses.SigLIP()(EYE, EYE), expected, rtol=1e-5)


def test_collapsed_vse_stays_at_twice_the_margin():
    collapsed = np.ones((B, B), "float32")
    hardest = losses.VSE(0.2, reduction="sum")(EYE, collapsed)
    np.testing.assert_allclose(hardest, 2 * B * 0.2, rtol=1e-5)
    summed = losses.VSE(0.2, hardness=0.0, reduction="sum")(EYE, collapsed)
    np.testing.assert_allclose(summed, 2 * B * (B - 1) * 0.2, rtol=1e-5)


def test_hardness_may_be_a_tensor():
    expected = losses.vse(EYE, S, hardness=0.25)
    np.testing.assert_allclose(losses.vse(EYE, S, hardness=np.float32(0.25)), expected)


@pytest.mark.parametrize("loss", [losses.info_nce, losses.siglip, losses.vse, losses.triplet])
def test_float16_is_computed_in_float32(loss):
    wrong = (6e4 * (1 - 2 * EYE)).astype("float16")  # sure, and wrong
    values = np.asarray(loss(EYE, wrong))
    assert values.dtype == "float32"
    assert np.isfinite(values).all()
    assert (values > 1e4).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.InfoNCE(0.0), "`temperature` must be above 0 and finite.*temperature=0.0"),
        (lambda: losses.SigLIP(-1.0), "`temperature` must be at least 0"),
        (lambda: losses.SigLIP(bias=float("inf")), "`bias` must be"),
        (lambda: losses.VSE(-0.1), "`margin` must be at least 0.0. Received: margin=-0.1"),
        (lambda: losses.VSE(hardness=1.5), r"`hardness` must be in \[0, 1\].*hardness=1.5"),
        (lambda: losses.Triplet(-0.1), "`margin` must be at least 0.0"),
        (lambda: losses.Triplet(mining="semihard"), "`mining` must be .*Did you mean 'semi_hard'"),
        (lambda: losses.info_nce(EYE, S[:, :3]), r"`y_pred` must be a matrix \(B, B\).*\(5, 3\)"),
        (lambda: losses.vse(EYE[0], S), r"`y_true` must be a matrix \(B, B\).*\(5,\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["InfoNCE", "SigLIP", "VSE", "Triplet"])
def test_a_graph_made_by_hand_learns_to_match(name):
    keras.utils.set_random_seed(0)
    a = keras.Input((6,), name="a")
    b = keras.Input((6,), name="b")
    u, v = (keras.layers.UnitNormalization()(keras.layers.Dense(8)(x)) for x in (a, b))
    similarity = keras.ops.matmul(u, keras.ops.transpose(v))
    model = keras.Model({"a": a, "b": b}, similarity)
    loss = getattr(losses, name)()
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    left = floats(8, 6)
    x = {"a": left, "b": left @ floats(6, 6, seed=1)}
    history = model.fit(x, np.eye(8), batch_size=8, epochs=40, shuffle=False, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    found = np.asarray(model(x)).argmax(axis=1)
    assert (found == np.arange(8)).mean() >= 0.75
