"""`check_dataset`: what doesn't fit is named before training starts."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm


@pytest.fixture(scope="module")
def model():
    return mm.build_mcnn(
        {"a": mm.Features(4), "b": mm.Features(3, optional=True)},
        {"digit": 10, "tags": mm.MultiLabel(2)},
        width=4,
    )


def batches(inputs=None, labels=None, count=6):
    inputs = {
        "a": np.zeros((count, 4), "float32"),
        "b": np.zeros((count, 3), "float32"),
        "b_present": np.ones((count, 1), bool),
    } | (inputs or {})
    labels = {"digit": np.arange(count) % 10, "tags": np.zeros((count, 2))} | (labels or {})
    inputs = {name: value for name, value in inputs.items() if value is not None}
    labels = {name: value for name, value in labels.items() if value is not None}
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)


def test_counts_the_samples_of_a_dataset_that_fits(model):
    assert mm.data.check_dataset(batches(), model) == 6
    assert mm.data.check_dataset(batches(), model, batches=1) == 4


NAN = np.zeros((6, 4), "float32")
NAN[5, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"a": None}}, r"without \['a'\]"),
        ({"inputs": {"b_present": None}}, r"without \['b_present'\]"),
        ({"inputs": {"a": np.zeros((6, 5))}}, r"'a' in batches of shape \('B', 4\).*\(4, 5\)"),
        ({"inputs": {"a": NAN}}, r"NaN or infinity in 'a' of sample 5"),
        ({"labels": {"tags": None}}, r"labels for the output 'tags'"),
        ({"labels": {"tags": np.zeros((6, 3))}}, r"'tags' must have 2 columns.*\(4, 3\)"),
        ({"labels": {"digit": np.array([0, 1, 2, 3, 4, 12])}}, r"'digit'.*0…9. Received: 12"),
        ({"labels": {"digit": np.array([0, -1, 2, 3, 4, 5])}}, r"0…9. Received: -1"),
        ({"labels": {"digit": np.array([0, 1.5, 2, 3, 4, 5])}}, r"whole numbers.*1\.5"),
    ],
)
def test_names_what_does_not_fit(model, change, message):
    with pytest.raises(ValueError, match=message):
        mm.data.check_dataset(batches(**change), model)


def test_several_outputs_need_a_dict_of_labels(model):
    data = batches().map(lambda inputs, labels: (inputs, labels["digit"]))
    with pytest.raises(ValueError, match=r"dict for the outputs \['digit', 'tags'\]"):
        mm.data.check_dataset(data, model)


def test_elements_must_be_pairs_and_not_empty(model):
    with pytest.raises(ValueError, match=r"\(inputs, labels\)"):
        mm.data.check_dataset(batches().map(lambda inputs, labels: inputs), model)
    with pytest.raises(ValueError, match="at least one sample"):
        mm.data.check_dataset(batches().take(0), model)


def test_one_output_takes_plain_labels():
    model = mm.build_mcnn({"a": mm.Features(4)}, 3, width=4)
    data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((3, 4))}, [0, 1, 3])).batch(3)
    with pytest.raises(ValueError, match=r"'label' must be whole numbers in 0…2. Received: 3"):
        mm.data.check_dataset(data, model)
