"""Plots: what a figure says, read back from its parts; each renders to a file."""

import pathlib

import numpy as np
import pytest
from matplotlib.path import Path

import mm_keras as mm
from mm_keras.evaluate import AblationRow, Contributions, RobustnessCurve


def labels_of(axes):
    return [text.get_text() for text in axes.texts]


def test_notebooks_draw_every_figure():
    figure = mm.plots.learning_curves({"image": {"accuracy": [0.2, 0.5]}})
    assert figure._repr_png_().startswith(b"\x89PNG")
    modules = pathlib.Path(mm.plots.__file__).parent.glob("*.py")
    plain = [path.name for path in modules if "= Figure(" in path.read_text(encoding="utf-8")]
    assert not plain, "make figures with `ShownFigure`"


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


def test_of_many_classes_the_most_confused_are_drawn(tmp_path):
    true = np.arange(1000).repeat(4)
    predicted = true.copy()
    predicted[[4 * 700, 4 * 700 + 1, 4 * 700 + 2]] = 12  # three in four
    predicted[4 * 31] = 990  # one in four
    names = [f"kind {number}" for number in range(1000)]
    figure = mm.plots.confusion_matrix(true, predicted, names, most=4)
    axes = figure.axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["kind 12", "kind 31", "kind 700", "kind 990"]
    expected = np.diag([1, 0.75, 0.25, 1])
    expected[2, 0], expected[1, 3] = 0.75, 0.25
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    assert axes.get_xlabel() == "predicted (4 most confused of 1,000)"
    assert axes.get_title() == "Confusion matrix (n = 4,000)"
    whole = mm.plots.confusion_matrix(true, predicted, names)
    assert len(whole.axes[0].get_yticks()) == 30
    whole.savefig(tmp_path / "confusion.png")
    with pytest.raises(ValueError, match=r"`most` must be at least 2\. Received: 1\."):
        mm.plots.confusion_matrix(true, predicted, names, most=1)


def test_a_class_without_samples_has_no_colour():
    figure = mm.plots.confusion_matrix([0, 0, 2], [0, 1, 2], ["cat", "dog", "hen"])
    shares = figure.axes[0].images[0].get_array()
    assert shares.mask.tolist() == [[False] * 3, [True] * 3, [False] * 3]


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


def test_lines_of_a_model_diagram_pass_beside_boxes(tmp_path):
    model = mm.build_mcnn(
        {
            "photo": mm.Image((32, 32, 3), backbone="SmallCNN", optional=True),
            "title": mm.Text(12, 30, backbone="Transformer").adapt(["a red cat"]),
            "table": mm.Features(5, optional=True),
        },
        3,
        width=8,
    )
    figure = mm.plots.model_diagram(model)
    figure.savefig(tmp_path / "diagram.png")  # only now boxes have their sizes
    (axes,) = figure.axes
    arrows = [Path([note.xyann, note.xy]) for note in axes.texts if not note.get_text()]
    paths = [*arrows, *(line.get_path() for line in axes.lines)]
    paths = [axes.transData.transform_path(path) for path in paths]
    assert axes.lines, "a line that passes a row"
    for box in (text for text in axes.texts if text.get_text()):
        inner = box.get_window_extent().padded(-1)
        crossed = [path for path in paths if path.intersects_bbox(inner, filled=False)]
        assert not crossed, box.get_text()


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


def test_reliability_diagram(tmp_path):
    probabilities = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]]
    figure = mm.plots.reliability_diagram([0, 1, 1, 1], probabilities, bins=4, title="pets")
    (axes,) = figure.axes
    assert axes.get_title() == "pets (n = 4, ECE = 0.363)"
    accuracy = [bar.get_height() for bar in axes.containers[0]]
    np.testing.assert_allclose(accuracy, [0, 0, 1, 0.5])
    np.testing.assert_allclose(axes.lines[0].get_ydata()[2:], [(0.7 + 0.55) / 2, 0.85])
    (legend,) = figure.legends
    figure.savefig(tmp_path / "reliability.png")
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    found = mm.evaluate.reliability([0, 1, 1, 1], probabilities, bins=4)
    again = mm.plots.reliability_diagram(found, title="pets")
    assert again.axes[0].get_title() == axes.get_title()
    np.testing.assert_allclose([bar.get_height() for bar in again.axes[0].containers[0]], accuracy)
    for arguments in ([[0, 1, 1, 1]], [found, probabilities]):
        with pytest.raises(TypeError, match="`probabilities` must be given with labels, and left"):
            mm.plots.reliability_diagram(*arguments)


def test_presence_chart(tmp_path):
    rows = [
        AblationRow(("image", "sound"), 0.9, 100),
        AblationRow(("image",), 0.7, 120),
        AblationRow(("sound",), float("nan"), 0),
        AblationRow((), 0.1, 130),
    ]
    figure = mm.plots.presence_chart(rows)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "image + sound",
        "image",
        "none",
    ]
    assert labels_of(axes) == ["0.900  (n = 100)", "0.700  (n = 120)", "0.100  (n = 130)"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.9, 0.7, 0.1])
    figure.savefig(tmp_path / "presence.png")
    with pytest.raises(ValueError, match="`rows` must have a pattern"):
        mm.plots.presence_chart(rows[2:3])


def test_robustness_chart(tmp_path):
    curves = [
        RobustnessCurve("image", "noise", (0.0, 0.5, 1.0), (0.9, 0.7, 0.2)),
        RobustnessCurve("image", "blur", (0.0, 0.5, 1.0), (0.9, 0.8, 0.6)),
        RobustnessCurve("sound", "noise", (0.0, 0.5, 1.0), (0.9, 0.85, 0.8)),
    ]
    figure = mm.plots.robustness_chart({"fused": curves}, title="digits")
    image, sound = figure.axes
    assert (image.get_title(), sound.get_title()) == ("image", "sound")
    assert [line.get_label() for line in image.lines] == ["noise", "blur"]
    np.testing.assert_array_equal(sound.lines[0].get_ydata(), [0.9, 0.85, 0.8])
    two = mm.plots.robustness_chart({"fused": curves, "late": curves[2:]})
    assert [line.get_label() for line in two.axes[1].lines] == ["fused, noise", "late, noise"]
    alone = mm.plots.robustness_chart(curves)
    assert [line.get_label() for line in alone.axes[0].lines] == ["noise", "blur"]
    figure.savefig(tmp_path / "robustness.png")
    two.savefig(tmp_path / "two.png")
    with pytest.raises(ValueError, match="`curves` must have a curve"):
        mm.plots.robustness_chart({})


def test_contributions_chart(tmp_path):
    rng = np.random.default_rng(0)
    values = {"image": rng.normal(0.5, 0.1, 50), "sound": rng.normal(0.1, 0.05, 50)}
    total = sum(values.values())
    found = Contributions(values, total + 0.1, np.full(50, 0.1), np.zeros(50, int))
    figure = mm.plots.contributions_chart(found)
    (axes,) = figure.axes
    assert axes.get_title() == "Contribution of each modality (n = 50)"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name.split("\n")[0] for name in names] == ["image", "sound"]
    assert names[0].split("\n")[1] == f"{100 * found.shares['image']:.0f} % overall"
    figure.savefig(tmp_path / "contributions.png")
    two = mm.plots.contributions_chart({"concat": found, "gated": found})
    names = [label.get_text().split("\n")[0] for label in two.axes[0].get_yticklabels()]
    assert names == ["concat, image", "concat, sound", "gated, image", "gated, sound"]
    colours = [patch.get_facecolor() for patch in two.axes[0].patches]
    assert colours[:2] == colours[2:], "a modality has one"
    assert colours[0] != colours[1]
    with pytest.raises(ValueError, match="`contributions` must be of some model"):
        mm.plots.contributions_chart({})


def test_comparison_chart(tmp_path):
    figure = mm.plots.comparison_chart({"image only": [0.5, 0.7], "both": [0.8, 0.9]}, "accuracy")
    (axes,) = figure.axes
    assert axes.get_title() == "Comparison (n = 2 seeds)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["image only", "both"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.5, 0.7])
    figure.savefig(tmp_path / "comparison.png")
    with pytest.raises(ValueError, match="`values` must have numbers"):
        mm.plots.comparison_chart({"both": []})
