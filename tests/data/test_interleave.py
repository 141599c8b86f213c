"""`interleave`: several datasets in given shares, in one structure."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import mm_keras as mm
from mm_keras.data import interleave

RNG = np.random.default_rng(0)


def dataset(count, labels=None, weights=None, **inputs):
    values = {
        name: RNG.normal(size=(count, *shape)).astype("float32") + 5
        for name, shape in inputs.items()
    }
    parts = (values, np.zeros(count, "int32") if labels is None else labels)
    return tf.data.Dataset.from_tensor_slices(parts if weights is None else (*parts, weights))


A = dataset(40, image=(4, 4, 1), table=(3,))
B = dataset(60, np.ones(60, "int32"), audio=(10,), table=(3,))


def test_modalities_that_a_dataset_lacks_are_zero_and_absent():
    joined = interleave({"a": A, "b": B}, seed=0)
    assert sorted(joined.element_spec[0]) == [
        "audio",
        "audio_present",
        "image",
        "image_present",
        "table",
    ]
    for inputs, label in joined.as_numpy_iterator():
        is_b = bool(label)
        assert inputs["audio_present"].tolist() == [is_b]
        assert inputs["image_present"].tolist() == [not is_b]
        assert inputs["audio"].any() == is_b
        assert inputs["image"].any() != is_b
        assert inputs["table"].all()


def test_batches():
    joined = interleave({"a": A.batch(8), "b": B.batch(8)}, seed=0, stop="all")
    sizes = []
    for inputs, label in joined.as_numpy_iterator():
        assert inputs["audio_present"].shape == (len(label), 1)
        np.testing.assert_array_equal(inputs["audio_present"][:, 0], label == 1)
        sizes.append(len(label))
    assert sorted(sizes) == [4] + [8] * 12


def test_shares_and_order():
    joined = interleave({"a": A.repeat(), "b": B.repeat()}, {"a": 1, "b": 3}, seed=0)
    labels = [int(label) for _, label in joined.take(2000)]
    assert stats.chisquare(np.bincount(labels), [500, 1500]).pvalue > 0.01
    again = interleave({"a": A.repeat(), "b": B.repeat()}, {"a": 1, "b": 3}, seed=0)
    assert labels == [int(label) for _, label in again.take(2000)]
    other = interleave({"a": A.repeat(), "b": B.repeat()}, {"a": 1, "b": 3}, seed=1)
    assert labels != [int(label) for _, label in other.take(2000)]


def test_where_it_stops():
    datasets = {"a": A.take(5), "b": B}
    assert len(list(interleave(datasets, seed=0, stop="all"))) == 65
    first = [int(label) for _, label in interleave(datasets, seed=0)]
    assert first.count(0) == 5
    assert len(first) < 30


def test_presence_that_a_dataset_has_is_kept():
    there = np.arange(60)[:, None] % 2 == 0
    with_presence = tf.data.Dataset.zip(B, tf.data.Dataset.from_tensor_slices(there)).map(
        lambda element, present: ({**element[0], "table_present": present}, element[1])
    )
    joined = interleave({"a": A, "b": with_presence}, seed=0, stop="all")
    flags = [(int(y), bool(x["table_present"][0])) for x, y in joined]
    assert {flag for label, flag in flags if label == 0} == {True}
    assert sum(flag for label, flag in flags if label == 1) == 30


def test_heads_that_a_dataset_has_no_labels_for_weigh_nothing():
    joined = interleave({"a": A, "b": B}, heads={"a": "digit", "b": "kind"}, seed=0, stop="all")
    counts = {"digit": 0, "kind": 0}
    for inputs, labels, weights in joined.as_numpy_iterator():
        head = "kind" if inputs["audio_present"][0] else "digit"
        for name in counts:
            assert weights[name] == (name == head)
        assert labels["digit"] == 0
        counts[head] += 1
    assert counts == {"digit": 40, "kind": 60}


def test_weights_that_a_dataset_has():
    weighted = dataset(10, np.ones(10, "int32"), np.full(10, 3.0, "float32"), table=(3,))
    joined = interleave({"a": A, "b": weighted}, seed=0, stop="all")
    assert {(int(y), float(w)) for _, y, w in joined} == {(0, 1.0), (1, 3.0)}
    named = interleave({"a": A, "b": weighted}, heads={"a": "x", "b": "y"}, seed=0, stop="all")
    assert {(float(w["x"]), float(w["y"])) for _, _, w in named} == {(1.0, 0.0), (0.0, 3.0)}


def test_one_model_learns_from_all():
    """A head learns from its own dataset alone, and the shared encoder from both."""
    specs = {
        "image": mm.Image((4, 4, 1), backbone="SmallCNN", optional=True),
        "audio": mm.Features(10, optional=True),
        "table": mm.Features(3),
    }
    model = mm.build_mcnn(specs, {"digit": 2, "kind": 2}, width=4)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    joined = interleave({"a": A, "b": B}, heads={"a": "digit", "b": "kind"}, seed=0)
    assert mm.data.check_dataset(joined.batch(8), model) > 8
    only_a = joined.filter(lambda x, y, w: w["digit"] > 0).batch(8)
    before = model.get_layer("kind_logits").get_weights()
    digit = model.get_layer("digit_logits").get_weights()
    model.fit(only_a, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_layer("kind_logits").get_weights()[0])
    assert (digit[0] != model.get_layer("digit_logits").get_weights()[0]).any()
    assert np.isfinite(model.fit(joined.batch(8), verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("datasets", "options", "message"),
    [
        ({}, {}, "`datasets` must be"),
        ({"a": A, "b": B}, {"weights": {"a": 1}}, r"`weights` must be \{name: share\}"),
        ({"a": A, "b": B}, {"weights": {"a": 1, "b": 0}}, "`weights` must be at least"),
        ({"a": A, "b": B}, {"stop": "never"}, "`stop` must be 'first' or 'all'"),
        ({"a": A, "b": B}, {"heads": {"c": "x"}}, r"`heads` must name datasets.*\['c'\]"),
        ({"a": A, "b": B}, {"heads": {"a": "x"}}, r"name the head.*\['b'\]"),
        ({"a": A, "b": B.batch(2)}, {}, "must all give batches, or all single samples"),
        (
            {"a": A, "b": dataset(4, table=(5,))},
            {},
            r"inputs 'table' of one shape and dtype.*in 'a'.*in 'b'",
        ),
        (
            {"a": A, "b": dataset(4, np.zeros((4, 3)), table=(3,))},
            {},
            "labels 'label' of one shape and dtype",
        ),
        (
            {"a": dataset(4, {"x": np.zeros(4)}, table=(3,))},
            {"heads": {"a": "y"}},
            "whose labels are a dict",
        ),
    ],
)
def test_errors(datasets, options, message):
    with pytest.raises(ValueError, match=message):
        interleave(datasets, **options)
