"""Weights by the effective number of samples, and their way into `fit`."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import add_class_weights, class_weights

COUNTS = np.array([1000, 100, 10, 1])


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
def test_oracle(beta):
    effective = np.array([sum(beta**power for power in range(count)) for count in COUNTS])
    expected = 4 / effective / (1 / effective).sum()
    weights = class_weights(COUNTS, beta=beta)
    assert weights.dtype == "float64"
    np.testing.assert_allclose(weights, expected, rtol=1e-9)


def test_the_ends_are_uniform_and_inverse_frequency():
    inverse = 4 / COUNTS / (1 / COUNTS).sum()
    np.testing.assert_array_equal(class_weights(COUNTS, beta=0.0), 1)
    np.testing.assert_allclose(class_weights(COUNTS, beta=1.0), inverse, rtol=1e-12)
    near = class_weights(COUNTS, beta=1 - 1e-13)  # 1 − β^n itself has lost all its digits here
    np.testing.assert_allclose(near, inverse, rtol=1e-9)


@pytest.mark.parametrize(
    ("counts", "beta", "message"),
    [
        ([3, 0, 2], 0.9, r"above 0 for every class.*\[1\]"),
        ([3, -1], 0.9, "`counts` must be numbers of at least 0"),
        ([[3, 1]], 0.9, r"`counts` must be numbers of at least 0, \(C,\)"),
        ([], 0.9, "`counts`"),
        ([3, 1], 1.1, r"`beta` must be in \[0, 1\]"),
        ([3, 1], -0.1, r"`beta` must be in \[0, 1\]"),
    ],
)
def test_errors(counts, beta, message):
    with pytest.raises(ValueError, match=message):
        class_weights(counts, beta=beta)


NUMBERS = np.array([0, 1, 2, 1])
TABLE = np.array([0.5, 2.0, 4.0])


def weights_of(labels, weights, given=None, batch=None):
    parts = (
        ({"a": np.zeros((4, 2))}, labels)
        if given is None
        else ({"a": np.zeros((4, 2))}, labels, given)
    )
    data = tf.data.Dataset.from_tensor_slices(parts)
    weighted = add_class_weights(data.batch(batch) if batch else data, weights)
    if batch is None:
        weighted = weighted.batch(4)
    return next(iter(weighted))[2]


@pytest.mark.parametrize("batch", [None, 4])
def test_labels_of_every_form(batch):
    soft = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5], [0, 0, 1]], "float32")
    for labels, expected in (
        (NUMBERS, TABLE[NUMBERS]),
        (NUMBERS[:, None], TABLE[NUMBERS]),
        (soft, soft @ TABLE),
    ):
        np.testing.assert_allclose(weights_of(labels, TABLE, batch=batch), expected, rtol=1e-6)
    given = np.array([1, 2, 0, 1], "float32")
    weighted = weights_of(NUMBERS, TABLE, given, batch)
    np.testing.assert_allclose(weighted, given * TABLE[NUMBERS], rtol=1e-6)


def test_heads():
    labels = {"digit": NUMBERS, "size": np.ones(4)}
    found = weights_of(labels, {"digit": TABLE}, np.array([1, 2, 0, 1], "float32"))
    np.testing.assert_allclose(found["digit"], [0.5, 4, 0, 2])
    np.testing.assert_allclose(found["size"], [1, 2, 0, 1])


def test_what_may_be_a_batch_or_a_sample_is_refused():
    data = tf.data.Dataset.from_tensors(({"a": np.zeros((3, 2))}, np.zeros(3)))
    with pytest.raises(ValueError, match=r"tell single samples from batches.*\(3,\)"):
        add_class_weights(data, TABLE)
    with pytest.raises(ValueError, match=r"tell single samples from batches"):
        mm.data.class_counts(data, 3)
    four = tf.data.Dataset.from_tensors(({"a": np.zeros((4, 2))}, NUMBERS))
    assert next(iter(add_class_weights(four, TABLE)))[2].shape == (4,)


def test_errors_of_heads():
    with pytest.raises(ValueError, match=r"`weights` must be \{head: weights\}"):
        weights_of({"digit": NUMBERS}, TABLE)
    with pytest.raises(ValueError, match=r"`weights` must be \{head: weights\}"):
        weights_of(NUMBERS, {"digit": TABLE})
    with pytest.raises(ValueError, match="`weights` must be one of"):
        weights_of({"digit": NUMBERS}, {"digits": TABLE})
    with pytest.raises(ValueError, match="labels of 'label' must be class numbers"):
        weights_of(np.ones((4, 5)), TABLE)
    with pytest.raises(tf.errors.InvalidArgumentError, match="whole numbers in 0…2"):
        weights_of(NUMBERS + 1, TABLE)


def test_a_model_with_two_heads_trains_as_with_the_weights_by_hand():
    """Where `fit(class_weight=…)` raises."""

    def train(weights, **options):
        model = mm.build_mcnn({"a": mm.Features(2)}, {"digit": 3, "kind": 2}, width=4, seed=0)
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        model.compile("sgd", mm.losses.classification(), jit_compile=False)
        labels = {"digit": NUMBERS, "kind": NUMBERS % 2}
        data = tf.data.Dataset.from_tensor_slices(({"a": np.eye(4)[:, :2]}, labels)).batch(4)
        data = data if weights is None else weights(data)
        model.fit(data, verbose=0, **options)
        return model.get_weights()

    table = {"digit": TABLE, "kind": [1.0, 3.0]}
    by_hand = {"digit": TABLE[NUMBERS], "kind": np.array([1, 3.0])[NUMBERS % 2]}
    ours = train(lambda data: add_class_weights(data, table))
    expected = train(lambda data: data.map(lambda x, y: (x, y, by_hand)))
    plain = train(None)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert any((one != other).any() for one, other in zip(ours, plain, strict=True))
    with pytest.raises(ValueError, match="class_weight"):
        train(None, class_weight={0: 1.0, 1: 2.0, 2: 3.0})
