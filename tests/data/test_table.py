"""Tables, arrays and folders to samples that a model takes."""

import gzip

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.media import picture, tone, write_picture, write_video, write_wav

TITLES = ["red shoe", "blue hat", "red hat", "blue shoe"]
TITLE = mm.Text(4, 10).adapt(TITLES)


@pytest.fixture
def shop(tmp_path):
    """A CSV with four products: picture, sound, title, numbers, category."""
    rows = ["photo,sound,title,price,city,kind,age,weight"]
    for n, title in enumerate(TITLES):
        write_picture(tmp_path / f"bilder/ä {n}.png", picture(40 * n + 40))
        write_wav(tmp_path / f"töne/{n}.wav", tone(800, 8000, 100 * (n + 1)), 8000)
        city = ["Rome", "Oslo"][n % 2]
        kind = title.split()[1]
        rows.append(f"bilder/ä {n}.png,töne/{n}.wav,{title},{n}.5,{city},{kind},{n + 20},{n}")
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


MODALITIES = {
    "image": mm.Image((8, 8, 3), backbone="SmallCNN"),
    "audio": mm.Audio(800, 8000),
    "title": TITLE,
    "table": mm.Tabular(
        numeric=("price",), categorical={"city": ("Oslo", "Rome")}, mean=(2.0,), variance=(1.0,)
    ),
    "numbers": mm.Features(2),
}
INPUTS = {"image": "photo", "audio": "sound", "numbers": ["price", "age"]}


def gather(dataset):
    """All samples as one batch of arrays."""
    return next(dataset.batch(10_000).as_numpy_iterator())


def test_every_kind_of_column_of_a_csv(shop):
    data = mm.data.from_table(shop, MODALITIES, inputs=INPUTS, labels="kind")
    assert len(data) == 4
    inputs, labels = gather(data)
    np.testing.assert_array_equal(labels, [1, 0, 0, 1])  # hat, shoe
    np.testing.assert_array_equal(inputs["image"], [picture(40 * n + 40) for n in range(4)])
    for n in range(4):
        np.testing.assert_allclose(inputs["audio"][n], tone(800, 8000, 100 * (n + 1)), atol=1e-4)
    np.testing.assert_array_equal(inputs["title"], TITLE.vectorize(TITLES))
    np.testing.assert_array_equal(inputs["table"], [[0.5, 2], [1.5, 1], [2.5, 2], [3.5, 1]])
    np.testing.assert_array_equal(inputs["numbers"], [[n + 0.5, n + 20] for n in range(4)])
    model = mm.build_mcnn(MODALITIES, 2, width=4)
    assert mm.data.check_dataset(data.batch(3), model) == 4
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    model.fit(data.batch(2), verbose=0)


class Frame:
    """What pandas' DataFrame offers, as far as it is used."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    @property
    def iloc(self):
        class Locator:
            def __getitem__(_, key):
                return self._columns[self.columns[key[1]]]

        return Locator()


def test_frames_dicts_gzip_and_tabs_give_the_same(shop, tmp_path):
    text = shop.read_text(encoding="utf-8")
    (tmp_path / "shop.csv.gz").write_bytes(gzip.compress(text.encode("utf-8")))
    (tmp_path / "shop.tsv").write_text("\ufeff" + text.replace(",", "\t"), encoding="utf-8")
    columns = mm.data.read_table(shop)
    typed = {
        name: np.array(values, float) if name in ("price", "age") else np.array(values, object)
        for name, values in columns.items()
    }
    expected = gather(mm.data.from_table(shop, MODALITIES, inputs=INPUTS, labels="kind"))
    for table in (tmp_path / "shop.csv.gz", tmp_path / "shop.tsv", columns, typed, Frame(typed)):
        got = mm.data.from_table(table, MODALITIES, inputs=INPUTS, labels="kind", root=tmp_path)
        tf.nest.map_structure(np.testing.assert_array_equal, gather(got), expected)


def test_pandas(shop, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(shop)
    expected = gather(mm.data.from_table(shop, MODALITIES, inputs=INPUTS, labels="kind"))
    got = mm.data.from_table(frame, MODALITIES, inputs=INPUTS, labels="kind", root=tmp_path)
    tf.nest.map_structure(np.testing.assert_array_equal, gather(got), expected)


def test_several_heads_numbers_and_weights(shop):
    image = {"image": MODALITIES["image"]}
    data = mm.data.from_table(
        shop,
        image,
        inputs={"image": "photo"},
        labels={"kind": "kind", "age": "age", "both": ["age", "price"], "city": "city"},
        classes={"age": "numbers", "city": ["Rome", "Oslo"]},
        weights={"kind": "weight", "age": "price"},
    )
    _, labels, weights = gather(data)
    np.testing.assert_array_equal(labels["kind"], [1, 0, 0, 1])
    np.testing.assert_array_equal(labels["age"], [20, 21, 22, 23])
    np.testing.assert_array_equal(labels["both"], [[n + 20, n + 0.5] for n in range(4)])
    np.testing.assert_array_equal(labels["city"], [0, 1, 0, 1])
    assert [labels[head].dtype for head in ("kind", "age", "both")] == ["int64"] + ["float32"] * 2
    np.testing.assert_array_equal(weights["kind"], [0, 1, 2, 3])
    _, _, weight = gather(
        mm.data.from_table(shop, image, inputs={"image": "photo"}, labels="kind", weights="weight")
    )
    np.testing.assert_array_equal(weight, [0, 1, 2, 3])


def test_whole_numbers_of_arrays_are_ids_and_names_sort_by_size():
    a = {"a": mm.Features(1)}
    table = {
        "a": np.zeros((3, 1)),
        "ids": np.array([7, 2, 7]),
        "names": ["10", "9", "10"],
        "x": np.array([0.5, 1.0, 2.0]),
    }
    for column, expected in (("ids", [7, 2, 7]), ("names", [1, 0, 1]), ("x", [0.5, 1.0, 2.0])):
        _, labels = gather(mm.data.from_table(table, a, labels=column))
        np.testing.assert_array_equal(labels, expected)
    _, labels = gather(mm.data.from_table(table, a, labels="names", classes="ids"))
    np.testing.assert_array_equal(labels, [10, 9, 10])


def test_shuffles_all_rows_anew_each_epoch_and_the_same_for_a_seed(tmp_path):
    count = 300
    write_picture(tmp_path / "a.png", picture(9))
    table = {"image": ["a.png"] * count, "label": np.arange(count)}
    spec = {"image": mm.Image((8, 8, 3))}

    def orders(seed, shuffle=True):
        data = mm.data.from_table(table, spec, root=tmp_path, shuffle=shuffle, seed=seed)
        return [[int(label) for _, label in data] for _ in range(2)]

    assert orders(0, shuffle=False) == [list(range(count))] * 2
    first, second = orders(1)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(count))
    assert orders(1) == [first, second]
    assert orders(2)[0] != first
    # The whole table is shuffled, not a window: the first tenth comes from everywhere.
    assert max(first[:30]) > 0.7 * count


def test_empty_cells_of_optional_modalities_are_absent(shop, tmp_path):
    lines = shop.read_text(encoding="utf-8").splitlines()
    lines[2] = ",töne/1.wav,,1.5,Oslo,hat,,1"
    lines[3] = "bilder/ä 2.png,, ,,,hat,22,2"
    shop.write_text("\n".join(lines), encoding="utf-8")
    import dataclasses

    optional = {n: dataclasses.replace(spec, optional=True) for n, spec in MODALITIES.items()}
    inputs = {**INPUTS, "numbers": ["age", "age"]}
    report = mm.data.BadRecords()
    data = mm.data.from_table(shop, optional, inputs=inputs, labels="kind", report=report)
    batch, _ = gather(data)
    expected = {
        "image": [1, 0, 1, 1],
        "audio": [1, 1, 0, 1],
        "title": [1, 0, 0, 1],
        "table": [1, 1, 0, 1],
        "numbers": [1, 0, 1, 1],
    }
    for name, present in expected.items():
        np.testing.assert_array_equal(batch[f"{name}_present"], np.array(present, bool)[:, None])
        gone = batch[name][~np.array(present, bool)]
        assert not gone.any()
    assert report.count == 0  # absence is no error
    assert mm.data.check_dataset(data.batch(4), mm.build_mcnn(optional, 2, width=4)) == 4


def test_views_in_columns(tmp_path):
    for n in range(3):
        write_picture(tmp_path / f"{n}.png", picture(50 * n + 50))
    table = {"front": ["0.png", "1.png"], "side": ["2.png", None], "label": ["x", "y"]}
    spec = mm.Views(2, (8, 8, 3), backbone="SmallCNN", optional_views=True)
    inputs = {"views": ["front", "side"]}
    batch, _ = gather(mm.data.from_table(table, {"views": spec}, inputs=inputs, root=tmp_path))
    np.testing.assert_array_equal(batch["views"][0], [picture(50), picture(150)])
    np.testing.assert_array_equal(batch["views"][1], [picture(100), np.zeros((8, 8, 3))])
    np.testing.assert_array_equal(batch["views_present"], [[True, True], [True, False]])
    whole = mm.Views(2, (8, 8, 3))
    with pytest.raises(ValueError, match="row 1, views: column 'side': an empty cell"):
        mm.data.from_table(table, {"views": whole}, inputs=inputs, root=tmp_path)
    with pytest.raises(ValueError, match="a list of 2 columns, one for each view"):
        mm.data.from_table(table, {"views": spec}, inputs={"views": ["front"]})
    single = {"v": mm.Views(1, (8, 8, 3))}
    batch, _ = gather(mm.data.from_table(table, single, inputs={"v": ["front"]}, root=tmp_path))
    assert batch["v"].shape == (2, 1, 8, 8, 3)


def test_videos_with_random_frames_differ_by_epoch_but_not_by_run(tmp_path):
    pytest.importorskip("av")
    for n in range(3):
        frames = np.stack([picture(10 * t + n, (6, 8)) for t in range(20)])
        write_video(tmp_path / f"{n}.mkv", frames)
    table = {"clip": [f"{n}.mkv" for n in range(3)] * 4, "label": ["a"] * 12}
    spec = {"clip": mm.Video(4, (6, 8, 3), backbone="SmallCNN")}

    def epochs(**options):
        data = mm.data.from_table(table, spec, root=tmp_path, **options)
        return [gather(data)[0]["clip"][:, :, -1, -1, 0] for _ in range(2)]

    first, second = epochs(sampling="random", seed=3)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[0], first[3])  # the same file, other frames
    for run, again in zip((first, second), epochs(sampling="random", seed=3), strict=True):
        np.testing.assert_array_equal(run, again)
    uniform = epochs()
    np.testing.assert_array_equal(uniform[0], uniform[1])
    np.testing.assert_array_equal(uniform[0][1], [21, 71, 121, 171])


def test_npy_files(tmp_path):
    for n in range(2):
        np.save(tmp_path / f"{n}.npy", np.full((3, 4), n))
    table = {"f": ["0.npy", "1.npy"], "label": ["a", "b"]}
    batch, _ = gather(mm.data.from_table(table, {"f": mm.Features((3, 4))}, root=tmp_path))
    np.testing.assert_array_equal(batch["f"], [np.zeros((3, 4)), np.ones((3, 4))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {**INPUTS, "image": "foto"}}, r"`inputs\['image'\]`.*Did you mean 'photo'"),
        ({"inputs": {**INPUTS, "imago": "photo"}}, r"`inputs`.*Did you mean 'image'"),
        ({"inputs": {**INPUTS, "table": ["price", "citi"]}}, r"'table'.*Did you mean 'city'"),
        ({"inputs": {**INPUTS, "numbers": ["price"]}}, r"must be 2 columns.*Received: 1 columns"),
        ({"labels": "kinds"}, "`labels` must be a column.*Did you mean 'kind'"),
        ({"labels": {"k": "kind"}, "classes": {"j": "ids"}}, r"`classes`.*\['k'\].*'j'"),
        ({"classes": "id"}, r"`classes` must be.*\['ids', 'numbers'\].*'id'"),
        ({"classes": ["hat", "shoes"]}, r"line 2, labels: kind: no class.*'shoe'.*mean 'shoes'"),
        ({"weights": "wait"}, "`weights` must be a column.*Did you mean 'weight'"),
        ({"on_error": "skip"}, r"`on_error` must be one of \('raise', 'absent', 'drop'\)|raise"),
        ({"on_error": "absent"}, r"must not be 'absent' for 'image', which is not optional"),
        ({"on_error": {"imag": "drop"}}, "`on_error`.*Did you mean 'image'"),
        ({"resize": {"imag": True}}, "`resize`.*Did you mean 'image'"),
        ({"resize": "pat"}, "`resize`.*Did you mean 'pad'"),
        ({"length": "fits"}, "`length`.*Did you mean 'fit'"),
    ],
)
def test_arguments_that_do_not_fit(shop, change, message):
    with pytest.raises(ValueError, match=message):
        mm.data.from_table(shop, MODALITIES, **{"inputs": INPUTS, "labels": "kind", **change})


def test_types_that_do_not_fit(shop):
    with pytest.raises(TypeError, match=r"`modalities\['image'\]` must be a spec"):
        mm.data.from_table(shop, {"image": "photo"})
    with pytest.raises(TypeError, match="`table` must be the path of a CSV file"):
        mm.data.from_table(3, MODALITIES)
    with pytest.raises(TypeError, match=r"`inputs\['image'\]` must be one column"):
        mm.data.from_table(
            shop,
            {"image": MODALITIES["image"]},
            inputs={"image": ["photo", "sound"]},
            labels="kind",
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "must have 2 cells in every row.*Received: 1 in line 3"),
        ("a,a\n1,2\n", "each once"),
        ("a,b\n", "at least one row"),
    ],
)
def test_broken_csv(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        mm.data.read_table(path)


def test_columns_of_unlike_length_and_missing_files():
    with pytest.raises(ValueError, match=r"columns of one length.*\{'a': 2, 'b': 1\}"):
        mm.data.read_table({"a": [1, 2], "b": [1]})
    with pytest.raises(FileNotFoundError, match="existing CSV file"):
        mm.data.read_table("absent.csv")


def test_arrays():
    modalities = {
        "image": mm.Image((4, 4, 1), backbone="SmallCNN"),
        "audio": mm.Audio(800, 8000, optional=True),
        "title": TITLE,
    }
    inputs = {
        "image": np.arange(48, dtype="uint8").reshape(3, 4, 4, 1),
        "audio": np.full((3, 800), 16384, "int16"),
        "audio_present": [True, False, True],
        "title": TITLE.vectorize(TITLES[:3]),
    }
    data = mm.data.from_arrays(
        inputs, {"kind": [0, 1, 2]}, modalities, sample_weight={"kind": [1.0, 2.0, 3.0]}
    )
    batch, labels, weights = gather(data)
    np.testing.assert_array_equal(batch["image"], inputs["image"])
    assert batch["image"].dtype == np.uint8
    np.testing.assert_allclose(batch["audio"][:, 0], [0.5, 0, 0.5], atol=1e-4)
    np.testing.assert_array_equal(batch["audio_present"], [[True], [False], [True]])
    np.testing.assert_array_equal(batch["title"], inputs["title"])
    np.testing.assert_array_equal(labels["kind"], [0, 1, 2])
    np.testing.assert_array_equal(weights["kind"], [1, 2, 3])
    assert len(data) == 3


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        ({"b": np.zeros((2, 3))}, [0, 1], r"`inputs` must have names out of \['a', 'a_present'\]"),
        ({}, [0, 1], r"must have the arrays \['a'\].*without 'a'"),
        ({"a": np.zeros((2, 4))}, [0, 1], r"shape \('N', 3\).*\(2, 4\)"),
        ({"a": np.zeros((2, 3))}, [0], r"one length.*'a': 2, 'labels': 1"),
        ({"a": np.full((2, 3), np.inf)}, [0, 1], "row 0, a: a: NaN or infinity"),
        ({"a": np.zeros((2, 3)), "a_present": [[True, True]] * 2}, [0, 1], "`inputs.*a_present"),
        ({"a": np.zeros((2, 3))}, [0.5, np.nan], "row 1, labels: labels: NaN"),
    ],
)
def test_arrays_that_do_not_fit(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        mm.data.from_arrays(inputs, labels, {"a": mm.Features(3, optional=True)})


def test_nan_behind_an_absent_modality_is_no_error():
    values = np.array([[1.0], [np.nan]])
    data = mm.data.from_arrays(
        {"a": values, "a_present": [True, False]}, [0, 1], {"a": mm.Features(1, optional=True)}
    )
    batch, _ = gather(data)
    np.testing.assert_array_equal(batch["a"], [[1], [0]])


def test_dropping_every_sample_leaves_an_empty_dataset():
    report = mm.data.BadRecords()
    data = mm.data.from_arrays(
        {"a": [[np.nan]]}, [0], {"a": mm.Features(1)}, on_error="drop", report=report
    )
    assert (len(list(data)), report.count) == (0, 1)


@pytest.mark.parametrize("files", [False, True])
def test_a_table_without_labels_is_predicted_on(shop, files):
    chosen = ["image", "title"] if files else ["title", "table"]
    specs = {name: MODALITIES[name] for name in chosen}
    options = {"inputs": {"image": "photo"} if files else None}
    data = mm.data.from_table(shop, specs, labels=None, **options)
    assert sorted(data.element_spec) == sorted(specs)
    model = mm.build_mcnn(specs, 2, width=4)
    model.compile("adam", jit_compile=False)
    predicted = model.predict(data.batch(3), verbose=0)["label"]
    inputs, _ = gather(mm.data.from_table(shop, specs, labels="kind", **options))
    np.testing.assert_allclose(predicted, model(inputs)["label"], atol=1e-5)
    with pytest.raises(ValueError, match="`classes` and `weights` must be None where there are no"):
        mm.data.from_table(shop, specs, labels=None, weights="weight", **options)
