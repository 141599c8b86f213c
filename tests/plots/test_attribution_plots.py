"""Plots of attribution: what a figure says, read back from its parts; each renders to a file."""

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.evaluate import AttentionMap, Gates

RNG = np.random.default_rng(0)


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def bar_label(figure):
    """The label of the colour bar, which is the last of the axes."""
    return figure.axes[-1].get_ylabel()


def test_image_heatmap(tmp_path):
    pictures = RNG.uniform(0, 255, (2, 6, 8, 1))
    heat = np.zeros((2, 6, 8))
    heat[0, 1, 7] = 1
    figure = mm.plots.image_heatmap(pictures, heat, ["cat", "dog"], "pets")
    assert figure.get_suptitle() == "pets (n = 2)"
    assert bar_label(figure) == "heat (1: the sample's hottest point)"
    plain, hot = figure.axes[:2]
    assert (plain.get_title(), figure.axes[2].get_title()) == ("cat", "dog")
    assert plain.images[0].get_array().shape == (6, 8, 3)
    grey, layer = hot.images
    np.testing.assert_allclose(grey.get_array(), np.round(pictures[0, :, :, 0]))
    np.testing.assert_array_equal(layer.get_array(), heat[0])
    assert layer.get_alpha()[1, 7] > 0.8
    assert layer.get_alpha().sum() == layer.get_alpha()[1, 7], "0 lets the picture through"
    assert (hot.get_title(), figure.axes[3].get_title()) == ("", "no evidence (all 0)")
    figure.savefig(tmp_path / "image.png")
    signed = mm.plots.image_heatmap(pictures, RNG.normal(size=(2, 6, 8, 1)), label="share")
    scale = signed.axes[1].images[1].norm
    assert scale.vmin == -scale.vmax, "0 is white"
    assert bar_label(signed) == "share"
    with pytest.raises(ValueError, match="`heatmaps` must be of the size of the pictures"):
        mm.plots.image_heatmap(pictures, heat[:, :3])
    with pytest.raises(ValueError, match=r"`pictures`, `titles` must have one entry for each"):
        mm.plots.image_heatmap(pictures, heat, ["cat"])
    with pytest.raises(ValueError, match="`values` must be finite"):
        mm.plots.image_heatmap(pictures, np.full_like(heat, np.nan))


def test_image_heatmap_of_views(tmp_path):
    views = RNG.uniform(0, 255, (2, 8, 5, 5, 3))
    heat = RNG.uniform(size=(2, 8, 5, 5))
    figure = mm.plots.image_heatmap(views, heat, ["chair", "table"])
    titles = [axes.get_title() for axes in figure.axes[:-1]]
    assert titles[:6] == ["chair: 1 of 8", "2 of 8", "4 of 8", "5 of 8", "7 of 8", "8 of 8"]
    np.testing.assert_array_equal(figure.axes[8].images[1].get_array(), heat[0, 3])
    figure.savefig(tmp_path / "views.png")
    heat[1] = 0
    figure = mm.plots.image_heatmap(views, heat)
    noted = [axes.get_title() for axes in figure.axes[18:24]]
    assert noted == ["no evidence (all 0)", *[""] * 5]


def test_spectrogram_heatmap(tmp_path):
    spec = mm.Audio(8000, 8000, mel_bins=32)
    time = np.arange(8000) / 8000
    sound = np.stack([np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 300 * time)])
    sound[1, 6000] = 60  # a click at 0.75 s
    heat = RNG.uniform(size=(2, 101, 32))
    figure = mm.plots.spectrogram_heatmap(spec, sound, heat, ["high", "low"])
    assert figure.get_suptitle() == "Where the model listened (n = 2)"
    plain, hot = figure.axes[:2]
    assert plain.get_title() == "high"
    assert (plain.get_ylabel(), figure.axes[2].get_xlabel()) == ("frequency (Hz)", "time (s)")
    picture = plain.images[0]
    left, right, *_ = picture.get_extent()
    centres = np.linspace(left, right, 101, endpoint=False) + (right - left) / 202
    click = figure.axes[2].images[0].get_array()[-1].argmax()
    assert centres[click] == pytest.approx(0.75, abs=0.0126)
    np.testing.assert_array_equal(hot.images[1].get_array(), heat[0].T)
    # A tone's brightest bin lies where the axis says its frequency is.
    ticks = {label.get_text(): label.get_position()[1] for label in plain.get_yticklabels()}
    brightest = picture.get_array().mean(axis=1).argmax()
    assert abs(brightest - ticks["1,000"]) <= 1
    figure.savefig(tmp_path / "sound.png")
    figure = mm.plots.spectrogram_heatmap(spec, sound, heat * [[[1]], [[0]]])
    assert [axes.get_title() for axes in figure.axes[1:4:2]] == ["", "no evidence (all 0)"]
    with pytest.raises(ValueError, match=r"`heatmaps` must be \(n, 101, 32\), the frames and mel"):
        mm.plots.spectrogram_heatmap(spec, sound, heat.swapaxes(1, 2))


def test_word_heatmap(tmp_path):
    spec = mm.Text(12, 30).adapt(["a red cat for $5"])
    many = "red cat " * 6
    ids = spec.vectorize(["a red cat", many])
    values = np.zeros(ids.shape)
    values[0, :3] = [0.1, 0.8, -0.4]
    figure = mm.plots.word_heatmap(spec, ids, values, ["cat", "many"])
    assert figure.get_suptitle() == "What each word contributed (n = 2)"
    assert bar_label(figure) == "attribution to the output"
    first, second = figure.axes[:2]
    assert texts_of(first) == ["cat", "a", "red", "cat"], "padding is left out"
    assert texts_of(second) == ["many", *many.split()]
    _, _, red, cat = first.texts
    colours = [word.get_bbox_patch().get_facecolor()[:3] for word in (red, cat)]
    assert colours[0][0] > 0.8 > colours[0][2], "orange speaks for it"
    assert colours[1][2] > 0.8 > colours[1][0], "blue against it"
    assert len({word.get_position()[1] for word in second.texts[1:]}) == 1
    figure.savefig(tmp_path / "words.png")
    spread = mm.Text(40, 30).adapt(["a red cat"])
    long = spread.vectorize(["red cat " * 20])
    figure = mm.plots.word_heatmap(spread, long, np.full(long.shape, 0.1), label="attention")
    lines = {word.get_position()[1] for word in figure.axes[0].texts[1:]}
    assert len(lines) > 1, "long texts are wrapped"
    figure.savefig(tmp_path / "long.png")
    with pytest.raises(ValueError, match=r"`values` must be \(n, T\), as the ids are"):
        mm.plots.word_heatmap(spec, ids, values[:, :3])


def test_attention_matrix(tmp_path):
    weights = RNG.dirichlet(np.ones(6), size=(4, 3)).reshape(4, 3, 2, 3)
    found = AttentionMap(weights, "text", "image", (3,), (2, 3), "attention")
    figure = mm.plots.attention_matrix(found, 1, queries=["a", "red", "$cat$"])
    axes, bar = figure.axes
    assert axes.get_title() == "What text looked at in image\n(sample 1 of n = 4)"
    assert axes.get_xlabel() == "positions of image (2 × 3, row by row)"
    assert axes.get_ylabel() == "positions of text"
    assert bar.get_ylabel() == "attention (share of the query's)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "red", "$cat$"]
    np.testing.assert_allclose(axes.images[0].get_array(), weights[1].reshape(3, 6))
    assert [line.get_xdata()[0] for line in axes.lines] == [2.5], "parts the rows of the map"
    figure.savefig(tmp_path / "attention.png")
    mean = mm.plots.attention_matrix(found, title="both")
    assert mean.axes[0].get_title() == "both\n(mean of n = 4)"
    pooling = AttentionMap(weights[:, 0], None, "image", (), (2, 3), "pooling")
    figure = mm.plots.attention_matrix(pooling)
    assert figure.axes[0].images[0].get_array().shape == (1, 6)
    figure.savefig(tmp_path / "pooling.png")
    alike = AttentionMap(weights - 0.5, "text", "image", (3,), (2, 3), "similarity")
    figure = mm.plots.attention_matrix(alike, 0)
    assert figure.axes[0].get_title().startswith("How alike text and image are")
    assert figure.axes[0].images[0].norm.vmin < 0
    figure.savefig(tmp_path / "similarity.png")
    with pytest.raises(ValueError, match="`sample` must be one of the 4 samples, or None"):
        mm.plots.attention_matrix(found, 4)
    with pytest.raises(ValueError, match="`queries` must be at most 3 names, one a position"):
        mm.plots.attention_matrix(found, queries=list("abcd"))


def test_gates_chart(tmp_path):
    gates = RNG.dirichlet([5, 2], size=40).T
    present = {"image": np.ones(40, bool), "text": np.arange(40) < 10}
    values = dict(zip(present, gates, strict=True))
    figure = mm.plots.gates_chart(Gates(values, present, None), "digits")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "digits (n = 40)"
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[1] == f"text (n = 10)\nmean {gates[1, :10].mean():.2f}, above 0 in 100 %"
    assert axes.get_xlabel() == "gate (share of the sample's gates)"
    figure.savefig(tmp_path / "gates.png")
    positions = {name: np.repeat(own[:, None], 5, axis=1) for name, own in values.items()}
    figure = mm.plots.gates_chart(Gates(values, present, positions))
    lines = figure.axes[1].lines
    np.testing.assert_allclose(lines[1].get_ydata(), [gates[1, :10].mean()] * 5)
    assert [line.get_label() for line in lines] == ["image", "text"]
    figure.savefig(tmp_path / "positions.png")
    nothing = {name: np.zeros(40, bool) for name in present}
    with pytest.raises(ValueError, match="`gates` must have a sample that has some modality"):
        mm.plots.gates_chart(Gates(values, nothing, None))
