"""Ablation and Shapley values over presence patterns, on a model of three modalities."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.evaluate import presence_ablation, shapley_values
from tests.evaluate.trained import NAMES, model, samples

INPUTS, LABELS = samples(400, 2)


def alone(inputs, kept):
    changed = dict(inputs)
    for name in set(NAMES) - set(kept):
        changed[name] = np.zeros_like(inputs[name])
        changed[f"{name}_present"] = np.zeros_like(inputs[f"{name}_present"])
    return changed


def output_of(inputs):
    return model().predict(inputs, verbose=0)["label"]


def test_ablation_against_predictions_of_the_samples_that_have_the_pattern():
    rows = presence_ablation(model(), (INPUTS, LABELS))
    assert [row.present for row in rows][:4] == [NAMES, *itertools.combinations(NAMES, 2)]
    assert len(rows) == 8
    for row in rows:
        has = np.all([INPUTS[f"{name}_present"][:, 0] for name in row.present], axis=0)
        has = np.broadcast_to(has, LABELS.shape)
        right = output_of(alone(INPUTS, row.present)).argmax(axis=1) == LABELS
        assert row.samples == has.sum()
        assert row.value == pytest.approx(right[has].mean())
    value = {row.present: row.value for row in rows}
    assert value["loud",] > value["quiet",] > value["noise",]
    assert value["loud",] > 0.8
    assert value["noise",] < 0.5


def test_ablation_takes_datasets_and_metrics_and_other_names():
    data = tf.data.Dataset.from_tensor_slices((INPUTS, {"label": LABELS})).batch(64)
    rows = presence_ablation(model(), data)
    assert rows == presence_ablation(model(), (INPUTS, {"label": LABELS}), batch_size=400)
    errors = presence_ablation(model(), data, metric=lambda y, p: np.mean(y != p.argmax(axis=1)))
    assert [row.value for row in errors] == pytest.approx([1 - row.value for row in rows])


def test_patterns_no_sample_has_are_not_a_number():
    inputs = alone(INPUTS, ("loud",))
    rows = {row.present: row for row in presence_ablation(model(), (inputs, LABELS))}
    assert rows["noise",].samples == 0
    assert math.isnan(rows["noise",].value)
    assert rows["loud",].samples > 0


@pytest.mark.parametrize("explained", ["predicted", "label"])
def test_shapley_values_against_all_orders(explained):
    found = shapley_values(model(), (INPUTS, LABELS), explained=explained)
    whole = output_of(INPUTS)
    classes = whole.argmax(axis=1) if explained == "predicted" else LABELS
    np.testing.assert_array_equal(found.classes, classes)
    value = {
        frozenset(kept): output_of(alone(INPUTS, kept))[np.arange(400), classes]
        for size in range(4)
        for kept in itertools.combinations(NAMES, size)
    }
    for name in NAMES:
        gains = []
        for order in itertools.permutations(NAMES):
            before = frozenset(order[: order.index(name)])
            gains.append(value[before | {name}] - value[before])
        np.testing.assert_allclose(found.values[name], np.mean(gains, axis=0), atol=1e-5)


def test_shapley_values_sum_to_the_prediction():
    found = shapley_values(model(), (INPUTS, LABELS))
    total = sum(found.values.values()) + found.without
    np.testing.assert_allclose(total, found.whole, atol=1e-6)
    np.testing.assert_allclose(found.whole, output_of(INPUTS).max(axis=1), atol=1e-6)


def test_the_absent_gets_nothing_and_what_says_most_gets_most():
    found = shapley_values(model(), (INPUTS, LABELS))
    for name in NAMES:
        absent = ~INPUTS[f"{name}_present"][:, 0]
        assert not found.values[name][absent].any()
        assert found.values[name][~absent].any()
    assert found.shares["loud"] > found.shares["quiet"] > found.shares["noise"]
    assert sum(found.shares.values()) == pytest.approx(1)


FIXED = mm.build_mcnn({"a": mm.Features(4, optional=True), "b": mm.Features(4)}, 2)
PAIR = {"a": np.ones((2, 4)), "a_present": np.ones((2, 1), bool), "b": np.ones((2, 4))}
WITHOUT = {name: array for name, array in INPUTS.items() if name != "loud"}


@pytest.mark.parametrize("function", [presence_ablation, shapley_values])
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: (FIXED, (PAIR, [0, 1])), ValueError, r"optional=True.*\['b'\]"),
        (lambda: (FIXED.layers[0], (PAIR, [0, 1])), TypeError, "`model` must be a functional"),
        (lambda: (model(), (WITHOUT, LABELS)), ValueError, r"every input.*without: \['loud'\]"),
        (lambda: (model(), (INPUTS, LABELS[:3])), ValueError, r"one length.*\[3, 400\]"),
        (lambda: (model(), (INPUTS,)), ValueError, "batches of"),
        (lambda: (model(), []), ValueError, "at least one batch"),
    ],
)
def test_errors(function, make, error, message):
    with pytest.raises(error, match=message):
        function(*make())


def test_errors_of_arguments():
    data = (INPUTS, {"other": LABELS})
    with pytest.raises(ValueError, match="`head` must be one of"):
        shapley_values(model(), data, head="labels")
    with pytest.raises(ValueError, match=r"labels of 'label'. Received: \['other'\]"):
        presence_ablation(model(), data)
    with pytest.raises(ValueError, match=r"labels of 'label'. Received: \['other'\]"):
        shapley_values(model(), data, explained="label")
    with pytest.raises(ValueError, match="`explained` must be one of"):
        shapley_values(model(), data, explained="true")
    with pytest.raises(ValueError, match="`metric` must be one of"):
        presence_ablation(model(), data, metric="f1")
    with pytest.raises(ValueError, match=r"class numbers from 0 to 2. Received: 0 to 3"):
        presence_ablation(model(), (INPUTS, np.arange(400) % 4))
