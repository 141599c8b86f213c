"""Plots: what a figure says, read back from its parts; each renders to a file."""

import numpy as np
import pytest

import mm_keras as mm


def labels_of(axes):
    return [text.get_text() for text in axes.texts]


def test_learning_curves(tmp_path):
    histories = {
        "image": {"accuracy": [0.2, 0.5, 0.8], "val_accuracy": [0.1, 0.4, 0.6]},
        "both": {"accuracy": [0.3, 0.6, 0.9]},
    }
    figure = mm.plots.learning_curves(histories)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [
        "image, training",
        "image, validation",
        "both, training",
    ]
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [0.1, 0.4, 0.6])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy")
    figure.savefig(tmp_path / "curves.png")
    with pytest.raises(ValueError, match=r"`metric` must be one of \['accuracy', 'val_accuracy'\]"):
        mm.plots.learning_curves(histories, "auc")


def test_confusion_matrix(tmp_path):
    figure = mm.plots.confusion_matrix([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], ["cat", "dog"], "pets")
    axes = figure.axes[0]
    assert axes.get_title() == "pets (n = 5)"
    np.testing.assert_allclose(axes.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert labels_of(axes) == ["2", "1", "2"]
    figure.savefig(tmp_path / "confusion.png")


def test_model_diagram_has_a_box_a_layer_below_what_feeds_it(tmp_path):
    model = mm.build_mcnn({"left": mm.Features(4), "right": mm.Features(4)}, 2, width=4)
    figure = mm.plots.model_diagram(model)
    (axes,) = figure.axes
    boxes = {text.get_text().split("\n")[0]: text for text in axes.texts if text.get_text()}
    assert set(boxes) == {layer.name for layer in model.layers}
    height = {name: box.get_position()[1] for name, box in boxes.items()}
    assert height["left"] > height["left_projection"] > height["fusion"] > height["label"]
    assert height["left"] == height["right"]
    across = {name: box.get_position()[0] for name, box in boxes.items()}
    assert across["left"] < across["fusion"] < across["right"]
    figure.savefig(tmp_path / "diagram.png")


def test_size_tradeoff(tmp_path):
    figure = mm.plots.size_tradeoff({"float": (884.0, 0.7), "int8": (219.0, 0.69)}, samples=2000)
    (axes,) = figure.axes
    assert axes.get_title() == "Accuracy against size (n = 2,000)"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("size on disk (KB)", "accuracy")
    line, *points = axes.lines
    assert list(line.get_ydata()) == [0.7, 0.7], "where the others come from"
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(884, 0.7), (219, 0.69)]
    assert len({(p.get_marker(), p.get_color()) for p in points}) == 2
    figure.savefig(tmp_path / "sizes.png")
    with pytest.raises(ValueError, match="`points` must have at least one model"):
        mm.plots.size_tradeoff({})
