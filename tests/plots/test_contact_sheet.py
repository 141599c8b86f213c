"""The contact sheet: a row for each sample, each modality in its own way."""

import numpy as np
import pytest

import mm_keras as mm

MODALITIES = {
    "image": mm.Image((8, 16, 1), backbone="SmallCNN", optional=True),
    "sound": mm.Audio(800, 8000),
    "clip": mm.Video(6, (8, 8, 3), backbone="SmallCNN"),
    "views": mm.Views(3, (8, 8, 3), backbone="SmallCNN", optional_views=True),
    "text": mm.Text(6, 10).adapt(["costs $5 and $6"]),
    "table": mm.Tabular(numeric=("age",), categorical={"city": ("Oslo",)}),
    "vector": mm.Features(5),
    "map": mm.Features((4, 5)),
}
INPUTS = {
    "image": np.full((2, 8, 16, 1), 99, "uint8"),
    "image_present": np.array([[True], [False]]),
    "sound": np.random.default_rng(0).normal(size=(2, 800)).astype("float32") / 9,
    "clip": np.stack([np.full((6, 8, 8, 3), v, "uint8") for v in (10, 200)]),
    "views": np.full((2, 3, 8, 8, 3), 50, "uint8"),
    "views_present": np.array([[True, True, True], [False, True, False]]),
    "text": MODALITIES["text"].vectorize(["costs $5", "costs cheese"]),
    "table": np.array([[30, 1], [41.5, 0]], "float32"),
    "vector": np.eye(5, dtype="float32")[:2],
    "map": np.zeros((2, 4, 5), "float32"),
}


def test_each_modality_is_drawn_in_its_own_way(tmp_path):
    figure = mm.plots.contact_sheet(INPUTS, ["cat", "dog"], MODALITIES)
    rows = np.reshape(figure.axes, (2, 1 + len(MODALITIES)))
    column = {name: place for place, name in enumerate(MODALITIES, start=1)}
    text = [[" ".join(t.get_text() for t in axes.texts) for axes in row] for row in rows]
    assert [line[0] for line in text] == ["cat", "dog"]
    assert [line[column["image"]] for line in text] == ["", "absent"]
    assert text[0][column["text"]] == "costs 5"
    assert text[1][column["text"]] == "costs [UNK]"
    assert text[0][column["table"]] == "age: 30\ncity: Oslo"
    assert text[1][column["table"]] == "age: 41.5\ncity: unknown"

    def drawn(row, name):
        return np.asarray(rows[row, column[name]].images[0].get_array())

    assert drawn(0, "image").shape == (8, 16, 3)
    assert (drawn(0, "image") == 99).all()
    assert drawn(0, "sound").shape[0] == 64  # mel bins
    assert drawn(1, "clip").shape == (8, 4 * 8 + 3, 3)  # the first four frames, lines between
    assert (drawn(1, "clip")[:, 8] == 255).all()
    assert drawn(0, "views").shape == (8, 3 * 8 + 2, 3)
    assert drawn(1, "views").shape == (8, 8, 3)  # the view that is there
    np.testing.assert_array_equal(
        rows[1, column["vector"]].lines[0].get_ydata(), INPUTS["vector"][1]
    )
    assert rows[0, column["map"]].images
    assert rows[0, column["clip"]].get_title() == "clip\nVideo"
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 5000


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="`titles` must have at least one sample"):
        mm.plots.contact_sheet({}, [], {})
    with pytest.raises(ValueError, match="`inputs` must have 1 samples of 'image'"):
        mm.plots.contact_sheet(INPUTS, ["cat"], MODALITIES)
