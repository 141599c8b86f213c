"""`labels_for_outputs` where an output predicts nothing: gates, say, get zeros."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm

SOFTMAX = mm.losses.classification()
VECTORS = {"a": mm.Features(4), "b": mm.Features(4)}


def data(labels, *weights):
    inputs = {"a": np.zeros((3, 4), "float32"), "b": np.zeros((3, 4), "float32")}
    return tf.data.Dataset.from_tensor_slices((inputs, labels, *weights))


def renamed(dataset, model, part=1):
    (element,) = mm.data.labels_for_outputs(dataset.batch(3), model)
    return {name: values.numpy().tolist() for name, values in element[part].items()}


@pytest.mark.parametrize("labels", [[0, 1, 1], {"label": [0, 1, 1]}], ids=["array", "dict"])
def test_outputs_that_predict_nothing_get_zeros_once_their_loss_is_left_out(labels):
    model = mm.build_dfn(VECTORS, 2, width=4, auxiliary_heads=True)
    with pytest.raises(ValueError, match=r"without those of \['gates'\]|not all of one head"):
        mm.data.labels_for_outputs(data(labels), model)
    model.compile("sgd", dict.fromkeys(["label", "a_label", "b_label"], SOFTMAX))
    predictions = {name: [0, 1, 1] for name in ("label", "a_label", "b_label")}
    assert renamed(data(labels), model) == predictions | {"gates": [0, 0, 0]}


def test_single_samples_get_single_zeros():
    model = mm.build_dfn(VECTORS, 2, width=4)
    model.compile("sgd", {"label": SOFTMAX})
    one_hot = data(np.eye(3, 2, dtype="float32"))
    single = mm.data.labels_for_outputs(one_hot, model).element_spec[1]
    assert (single["label"].shape, single["gates"].shape) == ((2,), ())


def test_labels_of_a_trained_output_must_be_there():
    model = mm.build_dfn(VECTORS, {"x": 2, "y": 2}, width=4)
    model.compile("sgd", {"x": SOFTMAX, "y": SOFTMAX})
    with pytest.raises(ValueError, match=r"without those of \['y'\]"):
        mm.data.labels_for_outputs(data({"x": [0, 1, 1]}), model)


def test_sample_weights_are_renamed_too_and_the_metric_is_measured():
    model = mm.build_dfn(VECTORS, 2, width=4)
    model.compile("sgd", {"label": SOFTMAX}, metrics={"label": "accuracy"})
    weighted = data([0, 1, 1], np.array([1.0, 2.0, 3.0], "float32"))
    assert renamed(weighted, model, part=2) == {"gates": [0, 0, 0], "label": [1, 2, 3]}
    batches = mm.data.labels_for_outputs(weighted.batch(3), model)
    assert "label_accuracy" in model.fit(batches, verbose=0).history
