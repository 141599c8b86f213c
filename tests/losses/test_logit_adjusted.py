"""Logit adjustment against NumPy, and what it is for: balanced accuracy."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.losses import LogitAdjustedCrossentropy, logit_adjusted_crossentropy
from tests.conformance.cases import floats

LOGITS = floats(6, 4)
POWERS = np.exp(LOGITS)
PROBABILITIES = (POWERS / POWERS.sum(-1, keepdims=True)).astype("float32")
NUMBERS = np.array([0, 3, 2, 1, 1, 3])
ONE_HOT = np.eye(4, dtype="float32")[NUMBERS]
MIXED = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype("float32")
PRIORS = np.array([70.0, 20, 9, 1])


def oracle(distribution, tau):
    powers = np.exp(LOGITS + tau * np.log(PRIORS / PRIORS.sum()))
    return -(distribution * np.log(powers / powers.sum(-1, keepdims=True))).sum(-1)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    ("y_true", "distribution"),
    [(NUMBERS, ONE_HOT), (NUMBERS[:, None], ONE_HOT), (ONE_HOT, ONE_HOT), (MIXED, MIXED)],
    ids=["(B,)", "(B, 1)", "one-hot", "mixed"],
)
def test_oracle(y_true, distribution, from_logits, tau):
    y_pred = LOGITS if from_logits else PROBABILITIES
    expected = oracle(distribution, tau)
    values = logit_adjusted_crossentropy(y_true, y_pred, PRIORS, tau, from_logits)
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    loss = LogitAdjustedCrossentropy(PRIORS, tau, from_logits)
    np.testing.assert_allclose(loss(y_true, y_pred), expected.mean(), rtol=1e-4)


def test_tau_0_and_even_priors_are_the_crossentropy():
    plain = np.array(mm.losses.classification_crossentropy(NUMBERS, PROBABILITIES))
    for priors, tau in ((PRIORS, 0.0), (np.full(4, 7.0), 1.0)):
        values = logit_adjusted_crossentropy(NUMBERS, PROBABILITIES, priors, tau)
        np.testing.assert_allclose(values, plain, rtol=1e-5)


def test_the_scale_of_the_priors_does_not_count():
    one, other = (logit_adjusted_crossentropy(NUMBERS, LOGITS, p) for p in (PRIORS, PRIORS / 100))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_float16_is_finite():
    wrong = np.roll(ONE_HOT, 1, axis=-1).astype("float16")
    for from_logits in (False, True):
        y_pred = 6e4 * wrong if from_logits else wrong
        values = np.array(logit_adjusted_crossentropy(NUMBERS, y_pred, PRIORS, 1.0, from_logits))
        assert np.isfinite(values).all()


def test_predictions_become_those_for_even_classes():
    """Without features the plain model learns the priors; the adjusted one that all are alike."""
    labels = np.repeat(np.arange(4), PRIORS.astype(int))
    inputs = {"x": np.zeros((100, 1), "float32")}

    def learnt(loss):
        x = keras.Input((1,), name="x")
        model = keras.Model({"x": x}, keras.layers.Dense(4, activation="softmax")(x))
        model.compile(keras.optimizers.Adam(0.1), loss, jit_compile=False)
        model.fit(inputs, labels, batch_size=100, epochs=200, verbose=0)
        return model.predict({"x": np.zeros((1, 1))}, verbose=0)[0]

    np.testing.assert_allclose(learnt(mm.losses.classification()), PRIORS / 100, atol=0.01)
    np.testing.assert_allclose(learnt(LogitAdjustedCrossentropy(PRIORS)), 0.25, atol=0.01)


@pytest.mark.parametrize(
    ("priors", "tau", "message"),
    [
        ([], 1.0, "`priors` must be a number above 0 for each class"),
        ([3, 0], 1.0, "without training samples has no prior"),
        ([3, float("inf")], 1.0, "`priors` must be"),
        ([3, 1], -1.0, "`tau` must be at least 0"),
    ],
)
def test_errors(priors, tau, message):
    with pytest.raises(ValueError, match=message):
        LogitAdjustedCrossentropy(priors, tau)


def test_priors_for_other_classes():
    with pytest.raises(ValueError, match=r"one number for each of 4 classes\. Received: 3"):
        logit_adjusted_crossentropy(NUMBERS, LOGITS, [1, 2, 3])
