"""Labels for every output: those of the head that it belongs to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import labels_for_outputs

VECTORS = {"a": mm.Features(3), "b": mm.Features(4)}
X = {"a": np.arange(18.0).reshape(6, 3), "b": np.ones((6, 4))}
DIGIT = np.array([0, 1, 2, 0, 1, 2])
TAGS = np.arange(12).reshape(6, 2) % 2
HEADS = {"digit": 3, "tags": mm.MultiLabel(2)}


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices((X, *parts))


def first(dataset):
    """Returns the first batch's labels, and what comes after them, as arrays."""
    return next(dataset.batch(6).as_numpy_iterator())[1:]


def test_one_head_needs_no_dict():
    model = mm.build_dml(VECTORS, 3, width=4)
    for labels in (DIGIT, {"label": DIGIT}):
        (found,) = first(labels_for_outputs(dataset(labels), model))
        assert sorted(found) == ["a", "b", "label"]
        for values in found.values():
            np.testing.assert_array_equal(values, DIGIT)


@pytest.mark.parametrize("options", [{}, {"peers": 2}], ids=["modalities", "peers"])
def test_every_output_gets_the_labels_of_its_head(options):
    model = mm.build_dml(VECTORS, HEADS, width=4, **options)
    students = ("peer_1", "peer_2") if options else ("a", "b")
    (found,) = first(labels_for_outputs(dataset({"digit": DIGIT, "tags": TAGS}), model))
    assert sorted(found) == sorted(model.output)
    for prefix in ("", *(f"{student}_" for student in students)):
        np.testing.assert_array_equal(found[f"{prefix}digit"], DIGIT)
        np.testing.assert_array_equal(found[f"{prefix}tags"], TAGS)


def test_the_longest_head_wins_where_one_ends_like_another():
    model = mm.build_dml(VECTORS, {"size": 3, "shoe_size": 3}, width=4)
    labels = {"size": DIGIT, "shoe_size": 2 - DIGIT}
    (found,) = first(labels_for_outputs(dataset(labels), model))
    np.testing.assert_array_equal(found["a_size"], DIGIT)
    np.testing.assert_array_equal(found["a_shoe_size"], 2 - DIGIT)


def test_auxiliary_heads():
    model = mm.build_mcnn(VECTORS, 3, width=4, auxiliary_heads=True)
    (found,) = first(labels_for_outputs(dataset(DIGIT), model))
    assert sorted(found) == ["a_label", "b_label", "label"]


def test_a_plain_model_gets_its_labels_by_name():
    model = mm.build_mcnn(VECTORS, 3, width=4)
    (found,) = first(labels_for_outputs(dataset(DIGIT), model))
    np.testing.assert_array_equal(found["label"], DIGIT)


def test_sample_weights_go_with_their_labels():
    model = mm.build_dml(VECTORS, HEADS, width=4)
    weights = {"digit": np.arange(6.0), "tags": np.ones(6)}
    labels = {"digit": DIGIT, "tags": TAGS}
    _, found = first(labels_for_outputs(dataset(labels, weights), model))
    np.testing.assert_array_equal(found["a_digit"], np.arange(6.0))
    np.testing.assert_array_equal(found["b_tags"], np.ones(6))
    _, found = first(
        labels_for_outputs(dataset(DIGIT, np.arange(6.0)), mm.build_dml(VECTORS, 3, width=4))
    )
    np.testing.assert_array_equal(found["a"], np.arange(6.0))


def test_inputs_and_batches_stay_as_they_are():
    model = mm.build_dml(VECTORS, 3, width=4)
    batches = labels_for_outputs(dataset(DIGIT).batch(4), model)
    inputs, labels = next(batches.as_numpy_iterator())
    np.testing.assert_array_equal(inputs["a"], X["a"][:4])
    assert labels["a"].shape == (4,)


def test_fit_with_a_metric_of_the_ensemble():
    model = mm.build_dml(VECTORS, 3, width=4)
    losses = mm.training.student_losses(model)
    metrics = dict.fromkeys(model.output, "accuracy")
    model.compile(keras.optimizers.SGD(0.0), losses, metrics=metrics, jit_compile=False)
    batches = labels_for_outputs(dataset(DIGIT, [1.0, 1, 0, 0, 0, 0]).batch(2), model)
    history = model.fit(batches, verbose=0).history
    measured = model.evaluate(batches, verbose=0, return_dict=True)
    predictions = model.predict(X, verbose=0)
    for name in ("a", "b", "label"):
        accuracy = np.mean(np.argmax(predictions[name], -1) == DIGIT)
        np.testing.assert_allclose(measured[f"{name}_accuracy"], accuracy, rtol=1e-6)
    assert "label_loss" not in history
    losses = -np.log(predictions["a"][np.arange(2), DIGIT[:2]])
    np.testing.assert_allclose(measured["a_loss"], losses.sum() / 6, rtol=1e-4)


def test_errors():
    model = mm.build_dml(VECTORS, HEADS, width=4)
    with pytest.raises(ValueError, match="must have a dict of outputs"):
        labels_for_outputs(dataset(DIGIT), keras.Sequential([keras.Input((3,))]))
    with pytest.raises(ValueError, match=r"must give \(inputs, labels\) or"):
        labels_for_outputs(tf.data.Dataset.from_tensor_slices(X), model)
    with pytest.raises(ValueError, match=r"without those of \['a_tags', 'b_tags', 'tags'\]"):
        labels_for_outputs(dataset({"digit": DIGIT}), model)
    with pytest.raises(ValueError, match=r"which are not all of one head. Received: one array"):
        labels_for_outputs(dataset(DIGIT), model)
