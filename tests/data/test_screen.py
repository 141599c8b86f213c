"""Bad records in TFRecords and TFDS: exact counts, and nothing else is lost."""

import json

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.datasets import Source
from mm_keras.datasets.source import LOADERS

COUNT, SHARDS = 50, 3
WORDS = mm.Text(3, 9, vocabulary=("red", "hat"))
SPECS = {
    "image": mm.Image((2, 2, 1), backbone="SmallCNN"),
    "sound": mm.Audio(200, 8000, optional=True),
    "views": mm.Views(2, (2, 2, 1), backbone="SmallCNN", optional_views=True),
    "text": WORDS,
}
NAN, ABSENT, SHORT, EMPTY = 7, 11, 20, 31  # what is wrong in which sample


def arrays():
    sound = np.ones((COUNT, 200), "float32")
    sound[[NAN, ABSENT], 2] = [np.nan, np.inf]  # nothing is looked for where it is absent
    there = np.ones((COUNT, 1), "bool")
    there[ABSENT] = False
    text = WORDS.vectorize(["red hat"] * COUNT)
    text[EMPTY] = 0
    return {
        "image": np.full((COUNT, 2, 2, 1), 9, "uint8"),
        "sound": sound,
        "sound_present": there,
        "views": np.full((COUNT, 2, 2, 2, 1), 9, "uint8"),
        "views_present": np.ones((COUNT, 2), "bool"),
        "text": text,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """TFRecords of which four samples are bad; of one, a picture is a byte short."""
    folder = tmp_path_factory.mktemp("records")
    data = tf.data.Dataset.from_tensor_slices((arrays(), np.arange(COUNT)))
    mm.data.write_tfrecords(data, folder, SPECS, shards=SHARDS)
    name = sorted(path.name for path in folder.glob("*.tfrecord"))[SHORT % SHARDS]
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(folder / name))]
    example = tf.train.Example.FromString(records[SHORT // SHARDS])
    for key in ("inputs/image", "inputs/views"):
        held = example.features.feature[key].bytes_list
        held.value[0] = held.value[0][:-1]
    records[SHORT // SHARDS] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for record in records:
            writer.write(record)
    schema = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    schema["shards"][name]["bytes"] = (folder / name).stat().st_size
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def test_all_that_is_bad_is_dropped_and_nothing_else(folder):
    for shuffle in (False, True):
        report = mm.data.BadRecords()
        data = mm.data.from_tfrecords(folder, on_error="drop", report=report, shuffle=shuffle)
        for _ in range(2):  # each is reported once, however many epochs
            kept = sorted(int(label) for _, label in data)
            assert kept == [n for n in range(COUNT) if n not in (NAN, SHORT, EMPTY)]
        assert report.count == 3
        found = [(r.row, r.modality, r.source, r.reason) for r in report]
        shard = "data-0000{}-of-00003.tfrecord".format
        assert found == [
            (NAN, "sound", shard(NAN % SHARDS), "NaN or infinity"),
            (SHORT, "image", shard(SHORT % SHARDS), "bytes of another length"),
            (SHORT, "views", shard(SHORT % SHARDS), "bytes of another length"),
            (EMPTY, "text", shard(EMPTY % SHARDS), "an empty text"),
        ]


def test_what_may_be_absent_becomes_so(folder):
    report = mm.data.BadRecords()
    policy = {"sound": "absent", "views": "absent", "image": "drop", "text": "drop"}
    data = mm.data.from_tfrecords(folder, on_error=policy, report=report)
    inputs, labels = next(data.batch(99).as_numpy_iterator())
    assert labels.tolist() == [n for n in range(COUNT) if n not in (SHORT, EMPTY)]
    gone = ~inputs["sound_present"][:, 0]
    assert labels[gone].tolist() == [NAN, ABSENT]
    assert not inputs["sound"][gone].any()
    assert np.isfinite(inputs["sound"]).all()
    views = {"views": SPECS["views"]}
    data = mm.data.from_tfrecords(folder, views, on_error="absent")
    assert len(data) == COUNT
    there = np.stack([inputs["views_present"] for inputs, _ in data])
    assert np.flatnonzero(~there.any(axis=1)).tolist() == [SHORT]


def test_by_default_the_first_raises_with_its_place(folder):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"row {NAN}, sound: data-00001.*NaN"):
        list(mm.data.from_tfrecords(folder))
    good = {"sound": SPECS["sound"]}
    assert len(list(mm.data.from_tfrecords(folder, good, on_error="absent"))) == COUNT
    with pytest.raises(ValueError, match="must not be 'absent' for 'image'"):
        mm.data.from_tfrecords(folder, on_error="absent")


def test_labels_and_weights(tmp_path):
    spec = {"a": mm.Features(2)}
    data = tf.data.Dataset.from_tensor_slices(
        ({"a": np.ones((6, 2), "float32")}, np.array([0, 1, np.nan, 3, 4, 5], "float32"))
    ).map(lambda x, y: (x, y, tf.where(y == 4, np.inf, 1.0)))
    mm.data.write_tfrecords(data, tmp_path, spec, shards=1)
    report = mm.data.BadRecords()
    kept = mm.data.from_tfrecords(tmp_path, on_error="drop", report=report)
    assert [int(label) for _, label, _ in kept] == [0, 1, 3, 5]
    assert [(r.row, r.modality) for r in report] == [(2, "labels"), (4, "labels")]
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 2, labels"):
        list(mm.data.from_tfrecords(tmp_path, on_error={"a": "drop"}))


def load_bad(split, data_dir=None):
    made = arrays()
    examples = {name: made[name] for name in ("image", "sound", "text")}
    return tf.data.Dataset.from_tensor_slices((examples, np.arange(COUNT)))


def test_tfds(monkeypatch):
    monkeypatch.setitem(LOADERS, "bad_set", load_bad)
    specs = {name: SPECS[name] for name in ("image", "sound", "text")}
    report = mm.data.BadRecords()
    policy = {"sound": "absent", "text": "drop"}
    data = mm.data.from_tfds("bad_set", "train", specs, on_error=policy, report=report)
    inputs, labels = next(data.batch(99).as_numpy_iterator())
    assert labels.tolist() == [n for n in range(COUNT) if n != EMPTY]
    assert labels[~inputs["sound_present"][:, 0]].tolist() == [NAN, ABSENT]
    assert [(r.row, r.modality, r.action) for r in report] == [
        (NAN, "sound", "absent"),
        (ABSENT, "sound", "absent"),
        (EMPTY, "text", "drop"),
    ]
    assert "bad_set, train" in str(next(iter(report)))
    source = Source("bad_set", on_error="drop")
    batches = source.batches("train", specs, 16, shuffle=True)
    assert [len(labels) for _, labels in batches] == [16, 16, 15]
    assert source.report.count == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sound: feature 'sound': NaN"):
        list(Source("bad_set").batches("train", specs, 16))
