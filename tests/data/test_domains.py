"""Batches of several domains."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm


def dataset(size, offset=0, labels=True, weight=None):
    x = {"a": np.arange(size, dtype="float32")[:, None] + offset}
    parts = (x,)
    if labels:
        parts += (np.arange(size, dtype="int32") % 3 + 1,)
    if weight is not None:
        parts += (np.asarray(weight, "float32"),)
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else x)


def arrays(batch):
    return tf.nest.map_structure(lambda t: t.numpy(), batch)


def test_halves_labels_and_weights():
    batches = mm.data.domain_batches(dataset(6), dataset(4, 100), batch_size=4)
    inputs, labels, weight = arrays(next(iter(batches)))
    assert inputs["a"].ravel().tolist() == [0, 1, 100, 101]
    assert labels["label"].tolist() == [1, 2, 0, 0]  # nothing of the target's labels
    assert labels["domain"].tolist() == [0, 0, 1, 1]
    assert weight["label"].tolist() == [1, 1, 0, 0]
    assert weight["domain"].tolist() == [1, 1, 1, 1]
    assert labels["label"].dtype == "int32"


@pytest.mark.parametrize(("sizes", "steps"), [((6, 4), 3), ((4, 6), 3), ((5, 4), 3), ((2, 2), 1)])
def test_the_smaller_domain_starts_anew_until_the_larger_was_seen(sizes, steps):
    batches = mm.data.domain_batches(dataset(sizes[0]), dataset(sizes[1], 100), batch_size=4)
    assert len(batches) == steps
    for _ in range(2):  # each epoch is complete
        seen = np.concatenate([b[0]["a"].ravel() for b in batches.as_numpy_iterator()])
        assert len(seen) == 4 * steps
        sources, targets = seen[seen < 100], seen[seen >= 100]
        assert set(sources) == set(range(sizes[0]))
        assert set(targets) == {100 + n for n in range(sizes[1])}


def test_several_sources_and_labels_of_several_heads():
    def two_heads(x, y):
        return x, {"digit": y, "size": tf.cast(y, "float32")[None]}

    sources = [dataset(3).map(two_heads), dataset(2, 50).map(two_heads)]
    batches = mm.data.domain_batches(sources, dataset(4, 100, labels=False), batch_size=6)
    inputs, labels, weight = arrays(next(iter(batches)))
    assert inputs["a"].ravel().tolist() == [0, 1, 50, 51, 100, 101]
    assert labels["domain"].tolist() == [0, 0, 1, 1, 2, 2]
    assert labels["digit"].tolist() == [1, 2, 1, 2, 0, 0]
    assert labels["size"].shape == (6, 1)
    assert weight["digit"].tolist() == weight["size"].tolist() == [1, 1, 1, 1, 0, 0]
    assert len(batches) == 2


def test_some_labels_of_the_target_are_known():
    target = tf.data.Dataset.from_tensor_slices(
        (
            {"a": np.zeros((4, 1), "float32")},
            np.array([2, -1, 1, 7], "int32"),
            np.array([1, 0, 0.5, 0], "float32"),
        )
    )
    batches = mm.data.domain_batches(dataset(4), target, batch_size=8)
    _, labels, weight = arrays(next(iter(batches)))
    assert labels["label"][4:].tolist() == [2, 0, 1, 0]  # what is unknown can do no harm
    assert weight["label"].tolist() == [1, 1, 1, 1, 1, 0, 0.5, 0]


def test_batches_of_one_domain_each():
    batches = mm.data.domain_batches(dataset(6), dataset(4, 100), batch_size=4, mixed=False)
    domains = [b[1]["domain"].tolist() for b in batches.as_numpy_iterator()]
    assert domains == [[0] * 4, [1] * 4] * 3


def test_shuffled_datasets_are_drawn_anew_in_each_pass():
    batches = mm.data.domain_batches(dataset(8).shuffle(8, seed=1), dataset(2, 100), batch_size=16)
    passes = [next(iter(batches))[0]["a"][:8].numpy().ravel() for _ in range(2)]
    assert not np.array_equal(*passes)
    assert set(passes[0]) == set(passes[1]) == set(range(8))


def test_endless_datasets_need_steps():
    batches = mm.data.domain_batches(dataset(6).repeat(), dataset(4), batch_size=4, steps=5)
    assert len(list(batches)) == 5
    with pytest.raises(ValueError, match=r"`steps` must be given .* with \['source 0'\]"):
        mm.data.domain_batches(dataset(6).repeat(), dataset(4), batch_size=4)


def test_batches_fit_the_model():
    model = mm.build_afe({"a": mm.Features(1)}, 4, width=4)
    batches = mm.data.domain_batches(dataset(6), dataset(4, 100), batch_size=4)
    assert mm.data.check_dataset(batches, model) == 12


def test_domain_pairs():
    pairs = mm.data.domain_pairs(dataset(3), dataset(4, 100, labels=False), batch_size=2)
    found = list(pairs.as_numpy_iterator())
    assert [b["a"].ravel().tolist() for b in found] == [[100, 101], [102, 103]]
    assert [b["a_source"].ravel().tolist() for b in found] == [[0, 1], [2, 0]]


EMPTY = dataset(4).take(0)
OTHER = tf.data.Dataset.from_tensor_slices({"b": np.zeros((4, 1), "float32")})
WIDE = tf.data.Dataset.from_tensor_slices({"a": np.zeros((4, 2), "float32")})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((EMPTY, dataset(4)), ValueError, "Every domain must have samples. Received: source 0"),
        ((dataset(4), EMPTY), ValueError, "Every domain must have samples. Received: target"),
        (([], dataset(4)), ValueError, "`source` must be at least one dataset"),
        (([1, 2], dataset(4)), TypeError, "`source` must be a tf.data.Dataset of single samples"),
        ((dataset(4), np.zeros(4)), TypeError, "`target` must be a tf.data.Dataset"),
        ((dataset(4), OTHER), ValueError, r"`target` must give inputs of the same names.*'b'"),
        ((dataset(4), WIDE), ValueError, r"`target` must give inputs of the same.*\(2,\)"),
        (
            ([dataset(4), dataset(4).map(lambda x, y: (x, y[None]))], dataset(4), 6),
            ValueError,
            r"`source\[1\]` must give labels of the same",
        ),
        ((dataset(4, labels=False), dataset(4)), ValueError, "`source` must give .inputs, labels"),
        ((dataset(4), dataset(4), 5), ValueError, "`batch_size` must be a multiple.*: 2. .*=5"),
        ((dataset(4), dataset(4), 0), ValueError, "`batch_size` must be an integer of at least 1"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        mm.data.domain_batches(*arguments)


def test_errors_of_options():
    with pytest.raises(TypeError, match="`mixed` must be a bool"):
        mm.data.domain_batches(dataset(4), dataset(4), mixed=1)
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 1"):
        mm.data.domain_batches(dataset(4), dataset(4), steps=0)
    with pytest.raises(ValueError, match="`target` must give inputs of the same"):
        mm.data.domain_pairs(dataset(4), OTHER)
    with pytest.raises(TypeError, match=r"`source` must be a tf\.data\.Dataset"):
        mm.data.domain_pairs(1, OTHER)
