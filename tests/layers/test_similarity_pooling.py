"""What a classifier reads off a similarity matrix: statistics, convolutions, alignment."""

import numpy as np
import pytest

from mm_keras.layers import SimilarityAlignment, SimilarityPooling
from mm_keras.testing import gradients
from tests.conformance.cases import POSITIONS, PRESENT, floats

S = floats(4, 3, 2)
A, C = floats(4, 3, 6), floats(4, 2, 6, seed=1)
MASKS = {"rows": POSITIONS, "columns": PRESENT}
KEPT = POSITIONS[:, :, None] & PRESENT[:, None] & np.ones((4, 3, 2), "bool")


@pytest.mark.parametrize("masks", [{}, MASKS], ids=["all", "masked"])
def test_statistics(masks):
    kept = KEPT if masks else np.ones((4, 3, 2), "bool")
    expected = np.zeros((4, 6))
    for sample in range(4):
        rows = [r for r in range(3) if kept[sample, r].any()]
        columns = [c for c in range(2) if kept[sample, :, c].any()]
        if rows:
            inner = S[sample][np.ix_(rows, columns)]
            best = inner.max(axis=1), inner.max(axis=0)
            expected[sample] = [
                inner.mean(),
                inner.max(),
                best[0].mean(),
                best[0].min(),
                best[1].mean(),
                best[1].min(),
            ]
    if masks:
        assert not expected[[1, 3]].any()  # one modality, or both, have no position
    np.testing.assert_allclose(SimilarityPooling()(S, **masks), expected, rtol=1e-5, atol=1e-6)


def convolve(x, kernel, bias):
    """A 3×3 convolution with zeros around, ReLU."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for i, j in np.ndindex(*x.shape[:2]):
        out[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) + bias
    return np.maximum(out, 0)


@pytest.mark.parametrize("masks", [{}, MASKS], ids=["all", "masked"])
def test_convolution(masks):
    layer = SimilarityPooling("convolution", filters=4)
    layer(S)
    layer.set_weights([w + 0.1 * floats(*w.shape) for w in layer.get_weights()])
    kept = KEPT if masks else np.ones((4, 3, 2), "bool")
    clean = np.where(kept, S, 0).astype("float32")
    expected = []
    for sample in range(4):
        x = clean[sample, :, :, None]
        for convolution in layer.convolutions:
            x = convolve(x, *convolution.get_weights()) * kept[sample, :, :, None]
        expected.append(x.max(axis=(0, 1)))
    found = np.asarray(layer(clean, **masks))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if masks:
        assert not found[[1, 3]].any()


@pytest.mark.parametrize("mode", ["statistics", "convolution"])
def test_padding_changes_nothing(mode):
    layer = SimilarityPooling(mode, filters=3)
    padded = np.pad(S, ((0, 0), (0, 2), (0, 1)))
    rows = np.array([[1, 1, 1, 0, 0]] * 4, "bool")
    columns = np.array([[1, 1, 0]] * 4, "bool")
    found = layer(padded, rows=rows, columns=columns)
    np.testing.assert_allclose(layer(S), found, rtol=1e-5, atol=1e-6)


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


@pytest.mark.parametrize("mask", [None, {"a": POSITIONS, "c": PRESENT}], ids=["all", "masked"])
def test_alignment(mask):
    kept = KEPT if mask else np.ones((4, 3, 2), "bool")
    expected = np.zeros((4, 12))
    for sample in range(4):
        rows = [r for r in range(3) if kept[sample, r].any()]
        columns = [c for c in range(2) if kept[sample, :, c].any()]
        if rows:
            a, c, s = A[sample, rows], C[sample, columns], S[sample][np.ix_(rows, columns)]
            first = [x * (softmax(2 * row) @ c) for x, row in zip(a, s, strict=True)]
            second = [x * (softmax(2 * column) @ a) for x, column in zip(c, s.T, strict=True)]
            expected[sample] = [*np.mean(first, axis=0), *np.mean(second, axis=0)]
    layer = SimilarityAlignment(sharpness=2.0)
    found = layer({"c": C, "a": A}, S, mask=mask)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    again, weights = layer({"c": C, "a": A}, S, mask=mask, return_attention=True)
    np.testing.assert_array_equal(again, found)
    for name, there in (("a", kept), ("c", kept.swapaxes(1, 2))):
        s = S if name == "a" else S.swapaxes(1, 2)
        powers = np.where(there, np.exp(2 * s), 0)
        total = powers.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(weights[name], powers / np.where(total, total, 1), rtol=1e-4)


def test_alignment_of_what_is_absent_has_no_gradient():
    mask = {"a": POSITIONS, "c": PRESENT}
    spoilt = {
        "a": np.where(POSITIONS[..., None], A, np.nan).astype("float32"),
        "c": np.where(PRESENT[..., None], C, np.inf).astype("float32"),
    }
    layer = SimilarityAlignment()
    clean = np.where(KEPT, S, 0).astype("float32")
    expected = layer({"a": A, "c": C}, clean, mask=mask)
    np.testing.assert_array_equal(layer(spoilt, clean, mask=mask), expected)
    found = gradients(lambda x: layer(x, clean, mask=mask), layer, spoilt)
    assert not found["a"][~POSITIONS].any()
    assert not found["c"][~PRESENT[:, 0]].any()
    assert all(np.isfinite(gradient).all() for gradient in found.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimilarityPooling("mean"), "`mode` must be one of"),
        (lambda: SimilarityPooling(filters=0), "`filters` must be"),
        (lambda: SimilarityPooling()(S[0]), r"similarity matrices \(B, N_a, N_b\).*\(3, 2\)"),
        (lambda: SimilarityAlignment(0), "`sharpness` must be above 0 and finite"),
        (lambda: SimilarityAlignment()({"a": A}, S), "at least 2 modalities"),
        (lambda: SimilarityAlignment()({"a": A, "c": C[..., :2]}, S), "one width D"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
