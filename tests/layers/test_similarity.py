"""Similarities of positions: loops, identities, masks."""

import itertools

import numpy as np
import pytest

from mm_keras.layers import Similarity
from mm_keras.layers.similarity import SIMILARITIES
from mm_keras.testing import check_fusion, gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats

A, C = floats(4, 3, 6), floats(4, 2, 6, seed=1)
FEATURES = {"c": C, "a": A}  # the order of the dict is no matter
EVERYWHERE = np.ones((4, 3, 2), "bool")
KEPT = POSITIONS[:, :, None] & PRESENT[:, None] & EVERYWHERE


def one(layer, a, b):
    """The similarity of two vectors."""
    weights = {w.name: np.asarray(w) for w in layer.weights}
    if layer.kind == "cosine":
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    if layer.kind == "euclidean":
        return -(np.linalg.norm(a - b) ** 2)
    if layer.kind == "dot":
        return a @ b
    if layer.kind == "bilinear":
        return a @ weights["kernel"] @ b
    if layer.kind == "relation":
        hidden = a @ weights["kernel_a"] + b @ weights["kernel_b"] + weights["bias"]
        return (np.maximum(hidden, 0) @ weights["score"])[0]
    return -np.linalg.norm(np.maximum(0, b - a))


def made(kind):
    layer = Similarity(kind, units=5)
    layer(FEATURES)
    if kind == "relation":
        layer.bias.assign(floats(5, seed=2))
    return layer


@pytest.mark.parametrize("mask", [None, {"a": POSITIONS, "c": PRESENT}], ids=["all", "masked"])
@pytest.mark.parametrize("kind", SIMILARITIES)
def test_oracle(kind, mask):
    layer = made(kind)
    kept = KEPT if mask else EVERYWHERE
    expected = np.zeros((4, 3, 2))
    for sample, i, j in itertools.product(range(4), range(3), range(2)):
        if kept[sample, i, j]:
            expected[sample, i, j] = one(layer, A[sample, i], C[sample, j])
    found = layer(FEATURES, mask=mask)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_absent_positions_have_no_effect_and_no_gradient(kind):
    check_fusion(made(kind), {"a": A, "c": C})


def test_squared_distance_on_the_sphere_is_twice_the_cosine_less_two():
    unit = {n: x / np.linalg.norm(x, axis=-1, keepdims=True) for n, x in FEATURES.items()}
    cosine, distance = (np.asarray(Similarity(k)(unit)) for k in ("cosine", "euclidean"))
    np.testing.assert_allclose(distance, 2 * cosine - 2, atol=1e-5)


def test_order_is_zero_for_equal_vectors_and_has_a_direction():
    same = np.asarray(Similarity("order")({"a": A, "b": A}))
    np.testing.assert_array_equal(same[:, range(3), range(3)], 0)
    above = {"a": A + 1, "b": A}
    below = {"a": A, "b": A + 1}
    np.testing.assert_array_equal(np.asarray(Similarity("order")(above))[:, range(3), range(3)], 0)
    found = np.asarray(Similarity("order")(below))[:, range(3), range(3)]
    np.testing.assert_allclose(found, -np.sqrt(6), rtol=1e-5)
    gradient = gradients(lambda x: Similarity("order")({"a": x["a"], "b": x["a"]}), None, {"a": A})[
        "a"
    ]
    assert np.isfinite(gradient).all()


def test_swapping_the_modalities_turns_the_matrix():
    for kind in ("cosine", "euclidean", "dot"):
        found = np.asarray(Similarity(kind)({"a": A, "c": C}))
        turned = np.asarray(Similarity(kind)({"z": A, "c": C}))
        np.testing.assert_allclose(turned, found.transpose(0, 2, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_float16_features_near_its_limits(kind):
    big = {"a": np.full((2, 2, 8), 6e4, "float16"), "b": np.full((2, 2, 8), -6e4, "float16")}
    layer = Similarity(kind, dtype="mixed_float16")
    assert np.isfinite(layer(big)).all()
    tiny = {name: 1e-7 * np.sign(x) for name, x in big.items()}
    found = np.asarray(layer(tiny))
    assert np.isfinite(found).all()
    assert found.dtype == "float32"
    if kind == "cosine":
        np.testing.assert_allclose(found, -1, rtol=1e-3)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_vectors_of_zeros_have_a_finite_gradient(kind):
    def similarity(x):
        return made(kind)({"a": x["a"], "c": C})

    assert np.isfinite(gradients(similarity, None, {"a": np.zeros_like(A)})["a"]).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Similarity("cosin"), ValueError, "`kind` must be .*Did you mean 'cosine'"),
        (lambda: Similarity(units=0), ValueError, "`units` must be an integer of at least 1"),
        (lambda: Similarity()({"a": A}), ValueError, r"at least 2 modalities.*\['a'\]"),
        (
            lambda: Similarity()({"a": A, "b": A, "c": C}),
            ValueError,
            r"must have two modalities.*\['a', 'b', 'c'\]",
        ),
        (lambda: Similarity()({"a": A, "b": C[..., :3]}), ValueError, "one width D"),
        (lambda: Similarity()(A), TypeError, "must be a dict"),
        (lambda: Similarity()(FEATURES, mask={"x": PRESENT}), ValueError, "`mask` of Similarity"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
