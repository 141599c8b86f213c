"""Gradients held back by the scores of auxiliary heads, against NumPy and in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras import layers
from tests.conformance.cases import floats

FEATURES = {"a": floats(6, 2, 3), "b": floats(6, 4, seed=1), "c": floats(6, 5, seed=2)}
LOGITS = {name: 2 * floats(6, 4, seed=3 + n) for n, name in enumerate(FEATURES)}
LABELS = np.array([0, 3, 1, 2, 2, 0])
WEIGHT = {name: floats(*x.shape, seed=9) for name, x in FEATURES.items()}


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def scores_of(logits, present=None):
    scores = {}
    for name, z in logits.items():
        right = softmax(z)[np.arange(6), LABELS]
        here = np.ones(6, bool) if present is None else present.get(name, np.ones(6, bool))
        scores[name] = right[here].mean() if here.any() else None
    return scores


def expected(scores, alpha):
    """The paper's coefficients; a modality without a score has no part."""
    shares = {}
    for name, score in scores.items():
        others = [s for other, s in scores.items() if other != name and s is not None]
        ratio = score / np.mean(others) if score is not None and others else 0
        shares[name] = 1 - np.tanh(alpha * ratio) if ratio > 1 else 1.0
    return shares


def gradients(layer, logits=None, loss=None, loss_weight=1.0, sample_weight=None, **kwargs):
    """The gradients of features and logits under losses of heads, and a linear one after fusion."""
    features = {name: tf.constant(x) for name, x in FEATURES.items()}
    logits = {name: tf.constant(z) for name, z in (logits or LOGITS).items()}
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        tape.watch([features, logits])
        passed, heads = layer((features, logits), training=True, **kwargs)
        total = sum(tf.reduce_sum(WEIGHT[name] * x) for name, x in passed.items())
        for z in heads.values():
            total += loss_weight * loss(LABELS, z, sample_weight=sample_weight)
    return tape.gradient(total, [features, logits])


def assert_shares(found, shares):
    for name, share in shares.items():
        np.testing.assert_allclose(found[name], share * WEIGHT[name], rtol=1e-4, atol=1e-7)


HOW = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


@pytest.mark.parametrize("how", HOW)
def test_what_is_ahead_is_held_back_as_in_the_paper(how):
    layer = layers.GradientModulation(0.6)
    found, heads = HOW[how](lambda: gradients(layer))()
    shares = expected(scores_of(LOGITS), 0.6)
    assert min(shares.values()) < 0.6  # someone is ahead
    assert max(shares.values()) == 1
    assert_shares(found, shares)
    onehot = np.eye(4)[LABELS]
    for name, z in LOGITS.items():  # the heads' own gradient passes
        np.testing.assert_allclose(heads[name], (softmax(z) - onehot) / 6, atol=1e-6)


@pytest.mark.parametrize("loss_weight", [1e-3, 2.0**15])
def test_weights_of_losses_do_not_matter(loss_weight):
    layer = layers.GradientModulation(0.6)
    assert_shares(gradients(layer, loss_weight=loss_weight)[0], expected(scores_of(LOGITS), 0.6))


def test_losses_of_probabilities_say_the_same_also_where_a_head_is_sure():
    layer = layers.GradientModulation(0.6)
    sure = {name: z + 40 * np.eye(4, dtype="float32")[LABELS] for name, z in LOGITS.items()}
    sure["c"] = LOGITS["c"]

    class OnProbabilities(keras.losses.Loss):
        def call(self, y_true, y_pred):
            mixed = keras.ops.softmax(y_pred) * 1.0
            return keras.losses.sparse_categorical_crossentropy(y_true, mixed)

    for logits in (LOGITS, sure):
        found = gradients(layer, logits, OnProbabilities())[0]
        assert_shares(found, expected(scores_of(logits), 0.6))


def test_samples_without_weight_and_absent_ones_have_no_part():
    here = np.array([1, 1, 0, 1, 0, 1], bool)
    shares = expected(scores_of(LOGITS, dict.fromkeys(LOGITS, here)), 0.6)
    layer = layers.GradientModulation(0.6)
    assert_shares(gradients(layer, sample_weight=here.astype("float32"))[0], shares)
    shares = expected(scores_of(LOGITS, {"a": here}), 0.6)
    assert_shares(gradients(layer, mask={"a": here[:, None]})[0], shares)
    nobody = np.zeros((6, 3), bool)
    shares = expected(scores_of(LOGITS, {"b": nobody[:, 0]}), 0.6)
    assert_shares(gradients(layer, mask={"b": nobody})[0], shares)
    assert shares["b"] == 1
    alone = {"a": nobody, "b": nobody}
    assert_shares(gradients(layer, mask=alone)[0], dict.fromkeys(LOGITS, 1.0))


def test_independent_labels():
    layer = layers.GradientModulation(0.6, activation="sigmoid")
    labels = (floats(6, 4, seed=20) > 0).astype("float32")
    bernoulli = keras.losses.BinaryCrossentropy(from_logits=True)

    def loss(_, z, sample_weight=None):
        return bernoulli(labels, z)

    found = gradients(layer, loss=loss)[0]
    scores = {
        name: np.where(labels > 0, 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))).mean()
        for name, z in LOGITS.items()
    }
    assert_shares(found, expected(scores, 0.6))


def test_noise_is_added_to_what_is_held_back_alone():
    layer, quiet = (
        layers.GradientModulation(0.6, noise=True, seed=1),
        layers.GradientModulation(0.6),
    )
    (found, heads), (base, same) = gradients(layer), gradients(quiet)
    shares = expected(scores_of(LOGITS), 0.6)
    draws = []
    for name, share in shares.items():
        difference = np.asarray(found[name] - base[name]).reshape(6, -1)
        if share == 1:
            assert not difference.any()
        else:
            std = np.asarray(base[name]).reshape(6, -1).std(axis=0)
            draws.append(difference / std)
        np.testing.assert_array_equal(heads[name], same[name])
    draws = np.concatenate(draws, axis=1)
    assert 0.5 < draws.std() < 1.5
    assert abs(draws.mean()) < 0.6
    assert np.any(np.asarray(gradients(layer)[0]["a"]) != np.asarray(found["a"])) or (
        shares["a"] == 1
    )


def test_nothing_happens_outside_of_training_or_with_alpha_0():
    x = (FEATURES, LOGITS)
    for layer, training in ((layers.GradientModulation(0.6), False),) * 1 + (
        (layers.GradientModulation(0.0), True),
    ):
        found = layer(x, training=training)
        for name in FEATURES:
            np.testing.assert_array_equal(found[0][name], FEATURES[name])
            np.testing.assert_array_equal(found[1][name], LOGITS[name])
    assert_shares(gradients(layers.GradientModulation(0.0))[0], dict.fromkeys(LOGITS, 1.0))


def test_features_and_logits_keep_their_types():
    features = {name: tf.cast(x, "float16") for name, x in FEATURES.items()}
    found, heads = layers.GradientModulation(0.5)((features, LOGITS), training=True)
    assert {x.dtype for x in found.values()} == {tf.float16}
    assert {x.dtype for x in heads.values()} == {tf.float32}
    np.testing.assert_array_equal(found["a"], features["a"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": -1}, ValueError, "`alpha` must be at least 0.0"),
        ({"activation": "tanh"}, ValueError, "`activation` must be one of"),
        ({"noise": 1}, TypeError, "`noise` must be a bool"),
    ],
)
def test_argument_errors(options, error, message):
    with pytest.raises(error, match=message):
        layers.GradientModulation(**options)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (FEATURES, TypeError, r"must be \(\{name: \(B, …\)\}, \{name: \(B, C\)\}\)"),
        ((FEATURES, {"a": LOGITS["a"]}), ValueError, r"same names.*\['a', 'b', 'c'\], \['a'\]"),
        (({"a": FEATURES["a"]}, {"a": LOGITS["a"]}), ValueError, "two or more"),
        ((LOGITS, FEATURES), ValueError, r"must have logits \(B, C\)"),
    ],
)
def test_input_errors(inputs, error, message):
    with pytest.raises(error, match=message):
        layers.GradientModulation()(inputs)


def test_unknown_masks():
    with pytest.raises(ValueError, match=r"`mask` of GradientModulation.*Received also: \['d'\]"):
        layers.GradientModulation()((FEATURES, LOGITS), mask={"d": np.ones((6, 1))}, training=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auxiliary_heads": False}, "must be 0 but with auxiliary_heads=True"),
        ({"num_classes": {"one": 2, "two": 3}}, r"one head.*heads \['one', 'two'\]"),
        ({"num_classes": mm.Regression(1)}, "must have the activation of the head.*Regression"),
        ({"gradient_modulation": -0.5}, "`gradient_modulation` must be at least 0.0"),
        ({"modalities": {"a": mm.Features(3)}}, r"two modalities or more.*\['a'\]"),
    ],
)
def test_builder_errors(options, message):
    arguments = {
        "modalities": {"a": mm.Features(3), "b": mm.Features(4)},
        "num_classes": 3,
        "auxiliary_heads": True,
        "gradient_modulation": 0.5,
        **options,
    }
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn(**arguments)
