"""The sources on real data, read from MM_KERAS_DATA."""

import collections
import os
import pathlib
import zipfile

import numpy as np
import pytest

import mm_keras as mm

DATA = os.environ.get("MM_KERAS_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="MM_KERAS_DATA names no folder of real data")


def gather(dataset):
    return next(dataset.batch(10_000).as_numpy_iterator())


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Extracts the photos of 500 products; returns the folder and their rows."""
    source = pathlib.Path(DATA) / "fashion_products"
    folder = tmp_path_factory.mktemp("products")
    table = mm.data.read_table(source / "products.csv")
    table = {name: cells[::14][:500] for name, cells in table.items()}
    with zipfile.ZipFile(source / "images.zip") as file:
        members = {os.path.basename(name): name for name in file.namelist()}
        for image in table["image"]:
            (folder / image).write_bytes(file.read(members[image]))
    return folder, table


def test_photos_titles_and_columns_of_products(products):
    folder, table = products
    modalities = {
        "image": mm.Image((64, 64, 3), backbone="SmallCNN"),
        "title": mm.Text(12, 2000).adapt(table["title"]),
        "table": mm.Tabular(categorical={"gender": None, "season": None}).adapt(
            {name: table[name] for name in ("gender", "season")}
        ),
    }
    report = mm.data.BadRecords()
    parts = mm.data.split_table(table, {"train": 0.8, "test": 0.2}, stratify="subCategory")
    classes = mm.data.class_names(table["subCategory"])
    seen = collections.Counter()
    for rows in parts.values():
        data = mm.data.from_table(
            rows,
            modalities,
            labels="subCategory",
            classes=classes,
            root=folder,
            on_error="drop",
            report=report,
        )
        batch, labels = gather(data)
        seen.update(classes[label] for label in labels)
        assert batch["image"].std() > 20
        assert (batch["title"] > 0).any(axis=1).all()
        assert (batch["table"] > 0).all()
    assert report.count == 0
    assert seen == collections.Counter(table["subCategory"])


def test_recordings_of_spoken_digits(tmp_path):
    with zipfile.ZipFile(pathlib.Path(DATA) / "fsdd/recordings.zip") as file:
        names = [name for name in sorted(file.namelist()) if name.endswith(".wav")][::30]
        for name in names:
            (tmp_path / os.path.basename(name)).write_bytes(file.read(name))
    stems = [os.path.basename(name) for name in names]
    table = {"audio": stems, "label": [stem[0] for stem in stems]}
    for rate in (8000, 16000):
        spec = {"audio": mm.Audio(rate, rate)}
        batch, labels = gather(mm.data.from_table(table, spec, root=tmp_path, length="fit"))
        assert np.array_equal(labels, [int(stem[0]) for stem in stems])
        power = (batch["audio"] ** 2).mean(axis=1)
        assert power.min() > 1e-6
        assert np.abs(batch["audio"]).max() <= 1.2  # resampling may overshoot


def test_videos_with_sound():
    pytest.importorskip("av")
    folder = pathlib.Path(DATA) / "grid_clips"
    names = sorted(path.name for path in folder.glob("*.mpg"))
    table = {"clip": names, "voice": names, "label": [name[0] for name in names]}
    modalities = {
        "clip": mm.Video(10, (72, 90, 3), backbone="SmallCNN"),
        "voice": mm.Audio(24_000, 8000),
    }
    batch, labels = gather(
        mm.data.from_table(table, modalities, root=folder, resize=True, length="fit")
    )
    assert batch["clip"].shape == (len(names), 10, 72, 90, 3)
    assert len(labels) == len(names) == 6
    # Frames differ, yet they are of one scene: neighbours are nearer than other clips.
    step = np.abs(np.diff(batch["clip"].astype(float), axis=1)).mean()
    other = np.abs(batch["clip"][0].astype(float) - batch["clip"][-1]).mean()
    assert 0.1 < step < other
    # Somebody speaks in the middle of each clip and is silent at its end.
    sound = batch["voice"] ** 2
    assert (sound[:, 6000:14_000].mean(axis=1) > 3 * sound[:, 20_000:22_000].mean(axis=1)).all()
