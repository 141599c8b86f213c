"""`balance`: the resampled stream has the target's shares, on a 100:1 long tail."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import mm_keras as mm
from mm_keras.data import balance, class_counts

COUNTS = np.array([1000, 464, 215, 100, 46, 22, 10])  # 100:1
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(7), COUNTS))
TARGETS = {"uniform": np.ones(7), "given": np.array([1, 2, 3, 4, 5, 6, 7.0])}


def samples(labels=LABELS):
    count = len(LABELS)
    return tf.data.Dataset.from_tensor_slices(({"number": np.arange(count)}, labels))


def stream(dataset):
    """Returns the numbers of all samples and their labels."""
    batches = dataset.map(lambda inputs, labels: inputs["number"]).batch(1000)
    numbers = np.concatenate(list(batches.as_numpy_iterator()))
    return numbers, LABELS[numbers]


def p_value(labels, target):
    expected = target / target.sum() * len(labels)
    return stats.chisquare(np.bincount(labels, minlength=7), expected).pvalue


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["oversample", "undersample", "reject"])
def test_chi_square_of_a_long_tail(method, target):
    shares = TARGETS[target]
    asked = target if target == "uniform" else shares
    counts = COUNTS if method == "reject" else None
    data = samples().repeat(20 if method == "undersample" else 1)
    if method == "reject":
        data = data.shuffle(2000, seed=0).repeat(20)
    balanced = balance(data, 7, method=method, target=asked, counts=counts, seed=0)
    numbers, labels = stream(balanced)
    assert p_value(labels, shares) > 0.01
    assert p_value(stream(data)[1], shares) < 1e-9  # it was not so before
    assert len(numbers) > 500


def test_oversampling_loses_nothing_and_undersampling_repeats_nothing():
    over = balance(samples(), 7, seed=0)
    numbers, labels = stream(over)
    assert set(numbers) == set(range(len(LABELS)))
    assert np.bincount(labels).tolist() == [1000] * 7
    assert over.cardinality() == 7000
    repeats = np.bincount(numbers)[LABELS == 1]
    assert set(repeats) == {2, 3}
    assert (np.diff(numbers) >= 0).all()
    under = balance(samples(), 7, method="undersample", seed=0)
    kept, labels = stream(under)
    assert len(set(kept)) == len(kept)
    assert np.bincount(labels).tolist() == [10] * 7
    assert under.cardinality() == 70
    assert (np.diff(kept) > 0).all()


def test_any_sample_may_be_kept():
    """Over many epochs each sample of a class comes equally often."""
    under = balance(samples(), 7, method="undersample", target=[3, 1, 1, 1, 1, 1, 1], seed=0)
    numbers, _ = stream(under.repeat(100))
    counts = np.bincount(numbers, minlength=len(LABELS))[LABELS == 3]
    assert stats.chisquare(counts).pvalue > 0.001
    assert len(set(map(tuple, numbers.reshape(100, -1)))) == 100


def test_epochs_and_seeds():
    under = balance(samples(), 7, method="undersample", seed=0)
    first, second = stream(under)[0], stream(under)[0]
    assert set(first) != set(second)
    np.testing.assert_array_equal(
        first, stream(balance(samples(), 7, method="undersample", seed=0))[0]
    )
    fixed = balance(samples(), 7, method="undersample", seed=0, each_epoch=False)
    np.testing.assert_array_equal(stream(fixed)[0], stream(fixed)[0])


def test_rejection_learns_the_shares_of_an_endless_stream():
    data = samples().shuffle(2000, seed=0).repeat()
    resampled = balance(data, 7, method="reject", target=[1, 1, 1, 0, 0, 0, 0], seed=0)
    labels = stream(resampled.skip(500).take(3000))[1]
    shares = np.bincount(labels, minlength=7) / 3000
    np.testing.assert_allclose(shares[:3], 1 / 3, atol=0.04)


def test_a_class_may_be_left_out():
    for method in ("oversample", "undersample"):
        labels = stream(balance(samples(), 7, method=method, target=[1, 1, 0, 1, 1, 1, 1], seed=0))
        assert 2 not in labels[1]


def test_labels_of_a_head_and_soft_labels():
    soft = np.eye(7, dtype="float32")[LABELS]
    labels = {"kind": soft, "other": LABELS}
    _numbers, found = stream(balance(samples(labels), 7, head="kind", seed=0))
    assert p_value(found, np.ones(7)) > 0.01
    counts = class_counts(samples(labels).batch(64), 7, head="other")
    np.testing.assert_array_equal(counts, COUNTS)
    np.testing.assert_array_equal(class_counts(samples(soft), 7), COUNTS)
    np.testing.assert_array_equal(class_counts(samples(LABELS[:, None]).batch(9), 7), COUNTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "over"}, "`method` must be one of.*Did you mean 'oversample'"),
        ({"target": "even"}, "`target` must be one of"),
        ({"target": [1, 2]}, "`target` must be 'uniform', or a share"),
        ({"target": [0] * 7}, "not all of them 0"),
        ({"target": [-1, 1, 1, 1, 1, 1, 1]}, "at least 0"),
        ({"counts": [1, 2]}, "`counts` must have one number for each of 7 classes"),
        ({"counts": [0, 1, 1, 1, 1, 1, 1]}, r"classes \[0\], which have none"),
        ({"head": "kind"}, "`head` must be None for labels that are no dict"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        balance(samples(), 7, **options)


def test_errors_of_datasets():
    with pytest.raises(ValueError, match=r"must give single samples"):
        balance(samples().batch(4), 7)
    with pytest.raises(ValueError, match="`dataset` must end, to be counted"):
        balance(samples().repeat(), 7)
    with pytest.raises(ValueError, match=r"must be whole numbers in 0…4\. Received others"):
        balance(samples(), 5)
    with pytest.raises(ValueError, match="labels of 'label' must be class numbers"):
        class_counts(samples(np.ones((len(LABELS), 3))), 7)


def test_fit_takes_it():
    model = mm.build_mcnn({"number": mm.Features(1)}, 7, width=4)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    data = samples().map(lambda x, y: ({"number": tf.cast(x["number"], tf.float32)[None]}, y))
    balanced = balance(data.take(200), 7, counts=COUNTS, seed=0).shuffle(100).batch(16)
    assert np.isfinite(model.fit(balanced, epochs=2, verbose=0).history["loss"]).all()
