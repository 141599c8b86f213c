"""The mean prediction of the students that are present."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mm_keras.layers import Ensemble
from mm_keras.layers.students import ACTIVATIONS
from tests.conformance.cases import floats

NAMES = ("a", "b", "c")
PATTERNS = np.array(list(itertools.product([True, False], repeat=3)))  # the last one: nobody
MASK = {name: PATTERNS[:, index : index + 1] for index, name in enumerate(NAMES)}
LOGITS = {name: 2 * floats(8, 5, seed=index) for index, name in enumerate(NAMES)}
NOTHING = {"softmax": 0.2, "sigmoid": 0.5, "linear": 0.0}


def softmax(z):
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


PREDICT = {"softmax": softmax, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "linear": lambda z: z}


def oracle(predictions, activation, mask=None):
    mask = mask or {name: np.ones((8, 1), "bool") for name in predictions}
    rows = []
    for sample in range(8):
        there = [p[sample] for name, p in predictions.items() if mask[name][sample].any()]
        rows.append(np.mean(there, axis=0) if there else np.full(5, NOTHING[activation]))
    return np.stack(rows)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all present", "every pattern"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_oracle(activation, mask):
    predictions = {name: PREDICT[activation](z) for name, z in LOGITS.items()}
    found = Ensemble(activation)(predictions, mask=mask)
    np.testing.assert_allclose(found, oracle(predictions, activation, mask), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all present", "every pattern"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_are_those_of_the_mean_probability(activation, mask):
    found = np.asarray(Ensemble(activation, logits=True)(LOGITS, mask=mask))
    predictions = {name: PREDICT[activation](z) for name, z in LOGITS.items()}
    expected = oracle(predictions, activation, mask)
    np.testing.assert_allclose(PREDICT[activation](found), expected, rtol=1e-5, atol=1e-6)
    if activation != "linear":  # and not the mean of the logits
        mean = PREDICT[activation](oracle(LOGITS, activation, mask))
        assert np.abs(mean - expected).max() > 0.05


@pytest.mark.parametrize("logits", [False, True], ids=["predictions", "logits"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_absent_students_have_no_effect_and_get_no_gradient(activation, logits):
    layer = Ensemble(activation, logits)
    garbage = {
        name: np.where(MASK[name], z, 7e8 if logits else np.nan) for name, z in LOGITS.items()
    }
    np.testing.assert_array_equal(layer(garbage, mask=MASK), layer(LOGITS, mask=MASK))
    tensors = {name: tf.constant(z) for name, z in LOGITS.items()}
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        loss = tf.reduce_sum(layer(tensors, mask=MASK) * floats(8, 5, seed=9))
    for name, gradient in tape.gradient(loss, tensors).items():
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=1) > 0).tolist() == MASK[name][:, 0].tolist()


def test_masks_of_positions_count_as_present_where_any_is():
    words = np.array([[0, 1]] * 4 + [[0, 0]] * 4, "bool")
    found = Ensemble()(LOGITS, mask={"a": words})
    expected = Ensemble()(LOGITS, mask={"a": words.any(axis=1, keepdims=True)})
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_extreme_logits(activation):
    sure = np.array([[6e4, -6e4]], "float16")
    found = np.asarray(Ensemble(activation, logits=True)({"a": sure, "b": sure}))
    assert np.isfinite(found).all()
    assert found.dtype == "float32"
    undecided = Ensemble(activation, logits=True)({"a": sure, "b": -sure})
    np.testing.assert_allclose(PREDICT[activation](np.asarray(undecided)), [[0.5, 0.5]], rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Ensemble("relu"), ValueError, "`activation` must be one of .*'relu'"),
        (
            lambda: Ensemble()(LOGITS["a"]),
            TypeError,
            r"`inputs` of Ensemble must be a dict \{student: \(B, C\)\}. Received shapes",
        ),
        (
            lambda: Ensemble()({"a": LOGITS["a"], "b": LOGITS["b"][:, :2]}),
            ValueError,
            r"`inputs` of Ensemble must be \(B, C\), with one C for all students.*\(8, 2\)",
        ),
        (
            lambda: Ensemble()(LOGITS, mask={"d": MASK["a"]}),
            ValueError,
            r"`mask` of Ensemble must have names out of .*Received also: \['d'\]",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
