"""Bad records: named, made absent or dropped; counted once; and nothing else is lost."""

import ast
import csv
import logging
import re
import wave

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.media import picture, tone, write_picture, write_wav

TITLE = mm.Text(4, 10, optional=True).adapt(["red hat"])


@pytest.fixture
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "mm_keras.data")


def gather(dataset):
    return next(dataset.batch(20_000).as_numpy_iterator())


@pytest.fixture
def table(tmp_path):
    """Six samples of picture, sound, title and number; in each but the first something is bad."""
    for n in range(6):
        write_picture(tmp_path / f"{n}.jpg", picture(40))
        write_wav(tmp_path / f"{n}.wav", tone(800, 8000), 8000)
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:-30])
    write_wav(tmp_path / "2.wav", tone(800, 16000), 16000)
    (tmp_path / "5.jpg").unlink()
    return {
        "image": [f"{n}.jpg" for n in range(6)],
        "audio": [f"{n}.wav" for n in range(6)],
        "title": ["red hat", "red hat", "red hat", "?!", "red hat", "red hat"],
        "price": [1.0, 2.0, 3.0, 4.0, float("inf"), 6.0],
        "label": np.arange(6),
    }


MODALITIES = {
    "image": mm.Image((8, 8, 3), backbone="SmallCNN", optional=True),
    "audio": mm.Audio(800, 8000, optional=True),
    "title": TITLE,
    "table": mm.Tabular(numeric=("price",), mean=(0.0,), variance=(1.0,), optional=True),
}
REASONS = {
    (1, "image"): "broken or truncated JPEG",
    (2, "audio"): "the spec wants 8000 Hz, the sound has 16000 Hz; resample=True would convert it",
    (3, "title"): "an empty text: no token is left of '?!'",
    (4, "table"): "NaN or infinity",
    (5, "image"): "there is no such file",
}


def source(table, root, **options):
    return mm.data.from_table(table, MODALITIES, root=root, resample=False, **options)


@pytest.mark.parametrize(("row", "name"), REASONS)
def test_raise_names_the_record_and_the_reason(table, tmp_path, row, name):
    one = {key: values[row : row + 1] for key, values in table.items()}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as raised:
        list(source(one, tmp_path, origin="shop"))
    text = str(raised.value)
    where = f"{row}.jpg" if name == "image" else f"{row}.wav" if name == "audio" else "column"
    assert f"row 0, {name}" in text
    assert where in text
    assert REASONS[row, name] in text
    assert "on_error='drop'" in text


def test_absent_takes_away_the_bad_modality_alone(table, tmp_path, caplog):
    report = mm.data.BadRecords()
    data = source(table, tmp_path, on_error="absent", report=report, origin="shop")
    assert len(data) == 6
    batch, labels = gather(data)
    np.testing.assert_array_equal(labels, range(6))
    for name in MODALITIES:
        gone = [row for row, bad in REASONS if bad == name]
        present = batch[f"{name}_present"][:, 0]
        assert np.flatnonzero(~present).tolist() == gone
        assert not batch[name][~present].any()
        assert all(values.any() for values in batch[name][present])
    assert {(r.row, r.modality): r.reason for r in report} == REASONS
    assert {r.action for r in report} == {"absent"}
    assert report.count == len(report) == 5
    logged = [record.getMessage() for record in caplog.records if record.name == "mm_keras.data"]
    assert len(logged) == 5
    assert any("shop, row 1, image" in line and "1.jpg" in line for line in logged)


def test_drop_leaves_out_the_sample(table, tmp_path, quiet):
    report = mm.data.BadRecords()
    batch, labels = gather(source(table, tmp_path, on_error="drop", report=report))
    np.testing.assert_array_equal(labels, [0])
    assert batch["image_present"].all()
    assert {(r.row, r.modality): r.reason for r in report} == REASONS


def test_a_policy_for_each_modality(table, tmp_path, quiet):
    report = mm.data.BadRecords()
    policies = {"image": "drop", "audio": "absent", "title": "absent", "table": "drop"}
    batch, labels = gather(source(table, tmp_path, on_error=policies, report=report))
    np.testing.assert_array_equal(labels, [0, 2, 3])
    np.testing.assert_array_equal(batch["audio_present"][:, 0], [True, False, True])
    np.testing.assert_array_equal(batch["title_present"][:, 0], [True, True, False])
    assert report.count == 5
    only = {"audio": "absent", "title": "absent", "table": "absent"}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"1\.jpg: broken or truncated JPEG"):
        gather(source(table, tmp_path, on_error=only))


def test_a_record_counts_once_over_epochs_datasets_and_modalities(table, tmp_path, quiet):
    (tmp_path / "1.wav").unlink()
    report = mm.data.BadRecords()
    options = {"on_error": "absent", "report": report, "origin": "shop"}
    for shuffle in (False, True):
        data = source(table, tmp_path, shuffle=shuffle, **options)
        for _ in range(2):
            gather(data.repeat(2))
    assert report.count == 5  # row 1 is bad twice, and is one record
    assert len(list(report)) == 6
    assert report.reasons()["there is no such file"] == 2
    report.write_csv(tmp_path / "bad.csv")
    with (tmp_path / "bad.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["1", "1", "2", "3", "4", "5"]
    assert rows[-1]["source"].endswith("5.jpg")
    assert mm.data.BadRecords()  # an empty one is a report too


def test_single_views_are_lost_singly(tmp_path, quiet):
    for n in range(3):
        write_picture(tmp_path / f"{n}.png", picture(60))
    table = {"a": ["0.png", "x.png"], "b": ["1.png", "2.png"], "label": ["x", "y"]}
    inputs = {"views": ["a", "b"]}
    for spec, present in [
        (mm.Views(2, (8, 8, 3), optional_views=True), [[True, True], [False, True]]),
        (mm.Views(2, (8, 8, 3), optional=True), [[True], [False]]),
    ]:
        data = mm.data.from_table(
            table, {"views": spec}, inputs=inputs, root=tmp_path, on_error="absent"
        )
        batch, _ = gather(data)
        np.testing.assert_array_equal(batch["views_present"], present)
        seen = batch["views"].any(axis=(2, 3, 4))
        np.testing.assert_array_equal(seen, np.broadcast_to(present, (2, 2)))


def test_bad_labels_and_weights_can_only_be_dropped():
    table = {
        "a": np.zeros((4, 1)),
        "label": ["x", None, "y", "x"],
        "w": [1.0, 1.0, -1.0, 1.0],
    }
    optional = {"a": mm.Features(1, optional=True)}
    for policy in ("raise", "absent"):
        with pytest.raises(ValueError, match="row 1, labels: label: an empty cell"):
            mm.data.from_table(table, optional, on_error=policy)
    report = mm.data.BadRecords()
    data = mm.data.from_table(table, optional, weights="w", on_error="drop", report=report)
    _, labels, weights = gather(data)
    np.testing.assert_array_equal(labels, [0, 0])
    np.testing.assert_array_equal(weights, [1, 1])
    assert [record.row for record in report] == [1, 2]
    policies = {"a": "absent", "labels": "drop"}
    _, labels = gather(mm.data.from_table(table, optional, on_error=policies))
    np.testing.assert_array_equal(labels, [0, 1, 0])


PRICES = ["red shoe"] * 27 + [""] * 10 + ["4.5"] * 3


@pytest.mark.parametrize("policy", ["absent", "drop"])
def test_a_modality_that_most_samples_lose_is_told_of_last(policy, caplog):
    caplog.set_level(logging.WARNING, "mm_keras.data")
    spec = mm.Tabular(numeric=("price",), mean=(0.0,), variance=(1.0,), optional=True)
    report = mm.data.BadRecords()
    table = {"price": PRICES, "label": ["a", "b"] * 20}
    for _ in range(2):
        mm.data.from_table(table, {"table": spec}, on_error=policy, report=report, origin="shop")
    what = {"absent": "go without 'table'", "drop": "are left out"}[policy]
    words = f"At least 27 of 30 samples of shop (90%) {what}, since 'table' is bad: column 'price'"
    assert [loss for loss in report.losses if loss.startswith(words)] == report.losses
    logged = [record.getMessage() for record in caplog.records]
    assert logged.index(report.losses[0]) == len(logged) - 1 == 27
    few = mm.data.BadRecords()
    table["price"] = ["4.5"] * 20 + PRICES[:20]
    mm.data.from_table(table, {"table": spec}, on_error=policy, report=few)
    assert (few.count, few.losses) == (20, [])


def test_files_that_mostly_cannot_be_read_are_told_of(tmp_path, quiet):
    write_picture(tmp_path / "0.png", picture(40))
    table = {"image": ["0.png", "1.png", "2.png", "3.png"], "label": [0, 1, 0, None]}
    report = mm.data.BadRecords()
    options = {"root": tmp_path, "on_error": {"image": "absent", "labels": "drop"}}
    image = {"image": MODALITIES["image"]}
    data = mm.data.from_table(table, image, report=report, **options)
    assert not report.losses
    assert len(list(data)) == 3
    assert report.losses == []  # two of four, as far as is known
    table["label"][3] = 1
    assert len(list(mm.data.from_table(table, image, report=report, **options))) == 4
    assert len(report.losses) == 1
    assert "3 of 4 samples of table 2 (75%) go without 'image'" in report.losses[0]


@pytest.mark.parametrize("given", ["raise", "absent"])
def test_doing_what_errors_say_helps(given, quiet):
    table = {"a": np.array([[1.0], [np.nan], [1.0]]), "label": ["x", "y", None]}
    optional = {"a": mm.Features(1, optional=True)}
    while given != {"a": "absent", "labels": "drop"}:
        with pytest.raises(ValueError, match=r"row (1, a|2, labels).*NaN|an empty cell") as raised:
            mm.data.from_table(table, optional, on_error=given)
        before, given = given, ast.literal_eval(re.search(r"on_error=({.*})", str(raised.value))[1])
        assert given != before
    assert len(list(mm.data.from_table(table, optional, on_error=given))) == 2
    with pytest.raises(ValueError, match=r"on_error={'a': 'drop'}\. Rows are counted from 0"):
        mm.data.from_table({**table, "label": [0, 1, 2]}, {"a": mm.Features(1)})


COUNT = 10_000


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory):
    """Returns a folder of 10,000 pictures and the numbers of the 100 that are bad."""
    rng = np.random.default_rng(0)
    bad = np.sort(rng.choice(COUNT, 100, replace=False))
    folder = tmp_path_factory.mktemp("bilder")
    data = write_picture(folder / "0.jpg", picture(200))
    for n in set(range(COUNT)) - set(bad[:40].tolist()):
        (folder / f"{n}.jpg").write_bytes(data)
    for n in bad[40:80]:
        (folder / f"{n}.jpg").write_bytes(data[: rng.integers(1, len(data) - 2)])
    for n in bad[80:]:
        write_picture(folder / f"{n}.jpg", picture(200, (9, 8)))
    return folder, bad


@pytest.mark.parametrize("policy", ["drop", "absent"])
def test_one_percent_of_ten_thousand(ten_thousand, quiet, policy):
    """Exactly the bad ones are lost, in each epoch, and counted once."""
    folder, bad = ten_thousand
    report = mm.data.BadRecords()
    source = mm.data.from_table(
        {"image": [f"{n}.jpg" for n in range(COUNT)], "label": np.arange(COUNT)},
        {"image": MODALITIES["image"]},
        root=folder,
        on_error=policy,
        report=report,
        shuffle=True,
        seed=1,
    )
    for _ in range(2):
        images, present, labels = [], [], []
        for inputs, label in source.batch(256).prefetch(4).as_numpy_iterator():
            images.append(inputs["image"].reshape(len(label), -1).any(axis=1))
            present.append(inputs["image_present"][:, 0])
            labels.append(label)
        images, present, labels = map(np.concatenate, (images, present, labels))
        np.testing.assert_array_equal(images, present)
        kept = np.setdiff1d(np.arange(COUNT), bad)
        np.testing.assert_array_equal(np.sort(labels[present]), kept)
        gone = bad if policy == "absent" else []
        np.testing.assert_array_equal(np.sort(labels[~present]), gone)
        assert report.count == 100
        assert [record.row for record in report] == bad.tolist()
    assert sorted(report.reasons().values()) == [20, 40, 40]


def test_a_lacking_library_is_no_bad_record(tmp_path, monkeypatch):
    from mm_keras.data import columns

    def lacking(module, name):
        raise ImportError(f"this needs the library {module!r}: pip install 'mm_keras[{name}]'")

    monkeypatch.setattr(columns, "extra", lacking)
    table = {"a": ["x.flac"], "v": ["x.mp4"], "label": ["x"]}
    for name, spec, words in [
        ("a", mm.Audio(800, 8000), r"soundfile.*mm_keras\[audio\]"),
        ("v", mm.Video(2, (8, 8, 3)), r"'av'.*mm_keras\[video\]"),
    ]:
        with pytest.raises(ImportError, match=words):
            mm.data.from_table(table, {name: spec}, on_error="drop")


def test_a_library_that_one_file_needs_is_no_bad_record_either(tmp_path, monkeypatch):
    from mm_keras.data.bad_records import plain_errors
    from mm_keras.data.decode import common

    def lacking(name):
        raise ImportError(name)

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 8000, 800, "NONE", "not compressed"))  # 24 bits
        file.writeframes(bytes(2400))
    monkeypatch.setattr(common.importlib, "import_module", lacking)
    report = mm.data.BadRecords()
    data = mm.data.from_table(
        {"audio": ["a.wav"], "label": ["x"]},
        {"audio": mm.Audio(800, 8000)},
        root=tmp_path,
        on_error="drop",
        report=report,
    )
    with pytest.raises(ValueError, match=r"^this needs the library 'soundfile'"), plain_errors():
        list(data)
    assert report.count == 0
