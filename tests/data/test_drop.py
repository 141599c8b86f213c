"""`drop_modalities`: what is dropped is absent, and something always stays."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import drop_modalities

COUNT = 600


def samples(names=("a", "b", "c"), present=None, always=()):
    inputs = {}
    for index, name in enumerate(names):
        there = np.ones((COUNT, 1), bool) if present is None else present[:, index : index + 1]
        inputs[name] = (1 + np.arange(COUNT))[:, None] * there * np.ones((COUNT, 2), "float32")
        if name not in always:
            inputs[name + "_present"] = there
    return tf.data.Dataset.from_tensor_slices((inputs, np.arange(COUNT), np.ones(COUNT)))


def all_of(dataset):
    return {name: value.numpy() for name, value in next(iter(dataset.batch(COUNT)))[0].items()}


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batches"])
def test_rate_presence_and_the_one_that_stays(batched):
    data = samples().batch(50) if batched else samples()
    dropped = drop_modalities(data, 0.5, seed=0)
    assert dropped.element_spec == data.element_spec
    found = all_of(dropped.unbatch() if batched else dropped)
    there = np.concatenate([found[f"{name}_present"] for name in "abc"], axis=1)
    for index, name in enumerate("abc"):
        expected = (1 + np.arange(COUNT))[:, None] * there[:, index : index + 1]
        np.testing.assert_array_equal(found[name], expected * np.ones(2))
    assert there.any(axis=1).all()
    np.testing.assert_allclose(there.mean(axis=0), 0.5 + 0.5**3 / 3, atol=0.06)


def test_only_what_was_there_can_stay():
    present = np.random.default_rng(0).random((COUNT, 3)) < 0.5
    found = all_of(drop_modalities(samples(present=present), 0.9, seed=0))
    there = np.concatenate([found[f"{name}_present"] for name in "abc"], axis=1)
    assert not (there & ~present).any()
    np.testing.assert_array_equal(there.any(axis=1), present.any(axis=1))


def test_all_may_go_beside_a_modality_that_is_always_there():
    found = all_of(drop_modalities(samples(always=("a",)), 1.0, seed=0))
    assert not found["b_present"].any()
    assert not found["c"].any()
    assert found["a"].all()


def test_rates_by_name():
    found = all_of(drop_modalities(samples(), {"b": 1.0, "c": 0.2}, seed=0))
    assert found["a_present"].all()
    assert not found["b_present"].any()
    assert abs(found["c_present"].mean() - 0.8) < 0.06


def test_the_last_one_is_drawn_evenly():
    found = all_of(drop_modalities(samples(), 1.0, seed=0))
    there = np.concatenate([found[f"{name}_present"] for name in "abc"], axis=1)
    np.testing.assert_array_equal(there.sum(axis=1), 1)
    np.testing.assert_allclose(there.mean(axis=0), 1 / 3, atol=0.06)


def test_single_views_go_together():
    inputs = {
        "views": np.ones((COUNT, 3, 2, 2, 1), "float32"),
        "views_present": np.tile([True, False, True], (COUNT, 1)),
        "a": np.ones((COUNT, 2), "float32"),
    }
    data = tf.data.Dataset.from_tensor_slices((inputs, np.arange(COUNT)))
    there = all_of(drop_modalities(data, 0.5, seed=0))["views_present"]
    assert {tuple(row) for row in there} == {(True, False, True), (False, False, False)}


def test_seeds_epochs_and_parallelism():
    def run(parallel, seed=0):
        data = drop_modalities(samples(), 0.5, seed=seed, num_parallel_calls=parallel)
        return [all_of(data)["a"] for _ in range(2)]

    one, four = run(1), run(4)
    np.testing.assert_array_equal(one, four)
    assert (one[0] != one[1]).any()
    assert (one[0] != run(1, seed=1)[0]).any()


def test_a_model_does_not_see_what_was_dropped():
    specs = {"a": mm.Features(2, optional=True), "b": mm.Features(2, optional=True)}
    model = mm.build_mcnn(specs, 3, width=4)
    inputs = all_of(drop_modalities(samples(("a", "b")), {"a": 1.0}, seed=0))
    louder = {**inputs, "a": inputs["a"] + 5}
    np.testing.assert_array_equal(
        model.predict(inputs, verbose=0)["label"], model.predict(louder, verbose=0)["label"]
    )


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (-0.1, "`rate` must be at least 0"),
        (1.1, "`rate` must be at least 0.0 and below 1"),
        ({"d": 0.5}, "`rate` must be one of"),
    ],
)
def test_errors(rate, message):
    with pytest.raises(ValueError, match=message):
        drop_modalities(samples(), rate)


def test_something_must_be_able_to_be_absent():
    with pytest.raises(ValueError, match=r"'a_present'\. Received the inputs"):
        drop_modalities(samples(always=("a", "b", "c")), 0.5)
