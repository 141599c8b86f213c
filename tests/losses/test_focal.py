"""Focal loss against NumPy, for labels of every form."""

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.losses import FocalCrossentropy, focal_crossentropy
from tests.conformance.cases import floats

LOGITS = floats(6, 4)
POWERS = np.exp(LOGITS)
PROBABILITIES = (POWERS / POWERS.sum(-1, keepdims=True)).astype("float32")
NUMBERS = np.array([0, 3, 2, 1, 1, 3])
ONE_HOT = np.eye(4, dtype="float32")[NUMBERS]
MIXED = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype("float32")
ALPHA = np.array([0.5, 1, 2, 3])


def oracle(distribution, gamma, alpha):
    p = PROBABILITIES
    return -(alpha * distribution * (1 - p) ** gamma * np.log(p)).sum(-1)


@pytest.mark.parametrize("alpha", [0.25, list(ALPHA)], ids=["number", "classes"])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    ("y_true", "distribution"),
    [(NUMBERS, ONE_HOT), (NUMBERS[:, None], ONE_HOT), (ONE_HOT, ONE_HOT), (MIXED, MIXED)],
    ids=["(B,)", "(B, 1)", "one-hot", "mixed"],
)
def test_oracle(y_true, distribution, from_logits, alpha):
    y_pred = LOGITS if from_logits else PROBABILITIES
    expected = oracle(distribution, 1.5, np.array(alpha))
    values = focal_crossentropy(y_true, y_pred, 1.5, alpha, from_logits)
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    loss = FocalCrossentropy(1.5, alpha, from_logits)
    np.testing.assert_allclose(loss(y_true, y_pred), expected.mean(), rtol=1e-4)


def test_gamma_0_is_alpha_times_the_crossentropy():
    for labels in (NUMBERS, MIXED):
        plain = np.array(mm.losses.classification_crossentropy(labels, PROBABILITIES))
        focal = focal_crossentropy(labels, PROBABILITIES, gamma=0.0, alpha=0.3)
        np.testing.assert_allclose(focal, 0.3 * plain, rtol=1e-5)


def test_a_class_counts_by_its_weight():
    weights = mm.data.class_weights([100, 10, 5, 1])
    loss = FocalCrossentropy(gamma=0.0, alpha=weights)
    plain = np.array(mm.losses.classification_crossentropy(NUMBERS, PROBABILITIES))
    np.testing.assert_allclose(
        loss(NUMBERS, PROBABILITIES), (weights[NUMBERS] * plain).mean(), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gamma": -1}, ValueError, "`gamma` must be at least 0"),
        ({"alpha": [1.0, -1.0]}, ValueError, "`alpha` must be at least 0"),
        ({"alpha": "balanced"}, TypeError, "`alpha` must be a number"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        FocalCrossentropy(**options)


def test_wrong_labels():
    with pytest.raises(ValueError, match=r"`y_true` must be class numbers .* \(B, 4\)"):
        focal_crossentropy(np.zeros((6, 3)), PROBABILITIES)
