"""TFRecords: whatever goes in comes out, in its order; and what is damaged is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.datasets import av_digits

RNG = np.random.default_rng(0)
COUNT = 23
TEXT = mm.Text(4, 10, optional=True).adapt(["röd hatt", "blå hatt"])
MODALITIES = {
    "image": mm.Image((4, 5, 3), backbone="SmallCNN", optional=True),
    "audio": mm.Audio(800, 8000),
    "video": mm.Video(2, (4, 4, 1), backbone="SmallCNN"),
    "views": mm.Views(3, (4, 4, 1), backbone="SmallCNN", optional_views=True),
    "text": TEXT,
    "table": mm.Tabular(
        numeric=("x",), categorical={"city": ("Oslo", "Åbo")}, mean=(0.0,), variance=(1.0,)
    ),
    "vector": mm.Features((2, 3)),
}


def arrays():
    def pixels(*shape):
        return RNG.integers(0, 255, (COUNT, *shape), dtype="uint8")

    return {
        "image": pixels(4, 5, 3),
        "image_present": RNG.random(COUNT) < 0.5,
        "audio": RNG.normal(size=(COUNT, 800)).astype("float32"),
        "video": pixels(2, 4, 4, 1),
        "views": pixels(3, 4, 4, 1),
        "views_present": RNG.random((COUNT, 3)) < 0.5,
        "text": TEXT.vectorize(["röd hatt", *["blå hatt"] * (COUNT - 1)]),
        "text_present": np.ones(COUNT, bool),
        "table": RNG.normal(size=(COUNT, 2)).astype("float32"),
        "vector": RNG.normal(size=(COUNT, 2, 3)).astype("float32"),
    }


LABELS = {"kind": np.arange(COUNT), "age": RNG.random(COUNT).astype("float32")}
WEIGHTS = {"kind": np.ones(COUNT, "float32"), "age": RNG.random(COUNT).astype("float32")}


def source(**options):
    return mm.data.from_arrays(arrays(), LABELS, MODALITIES, sample_weight=WEIGHTS, **options)


def gather(dataset):
    return next(dataset.batch(1000).as_numpy_iterator())


@pytest.mark.parametrize("shards", [1, 3, 40])
@pytest.mark.parametrize("compression", [None, "GZIP"])
def test_every_modality_comes_back_bit_for_bit_and_in_order(tmp_path, shards, compression):
    data = source()
    schema = mm.data.write_tfrecords(
        data,
        tmp_path / "ü",
        MODALITIES,
        shards=shards,
        compression=compression,
        classes=["å", "b"],
    )
    assert schema.count == COUNT
    assert len(list((tmp_path / "ü").glob("*.tfrecord"))) == shards
    again = mm.data.from_tfrecords(tmp_path / "ü")
    assert again.element_spec == data.element_spec
    assert len(again) == COUNT
    tf.nest.map_structure(np.testing.assert_array_equal, gather(again), gather(data))
    read = mm.data.read_schema(tmp_path / "ü")
    assert read == schema
    assert read.modalities == MODALITIES
    assert read.classes == ["å", "b"]


def test_plain_labels_without_weights(tmp_path):
    vector = {"vector": MODALITIES["vector"]}
    data = mm.data.from_arrays({"vector": np.ones((4, 2, 3))}, [3, 1, 2, 0], vector)
    mm.data.write_tfrecords(data, tmp_path, vector)
    again = mm.data.from_tfrecords(tmp_path)
    assert again.element_spec == data.element_spec
    assert gather(again)[1].tolist() == [3, 1, 2, 0]


def test_some_modalities_may_be_read_alone_and_must_fit(tmp_path):
    mm.data.write_tfrecords(source(), tmp_path, MODALITIES)
    some = {name: MODALITIES[name] for name in ("views", "audio")}
    inputs, labels, _ = mm.data.from_tfrecords(tmp_path, some).element_spec
    assert sorted(inputs) == ["audio", "views", "views_present"]
    assert sorted(labels) == ["age", "kind"]
    for wrong in ({"audio": mm.Audio(900, 8000)}, {"sound": mm.Audio(800, 8000)}):
        with pytest.raises(ValueError, match="`modalities` must fit what was written"):
            mm.data.from_tfrecords(tmp_path, wrong)


def test_shuffles_with_a_seed(tmp_path):
    mm.data.write_tfrecords(source(), tmp_path, MODALITIES)

    def orders(seed):
        data = mm.data.from_tfrecords(tmp_path, shuffle=True, seed=seed)
        return [[int(labels["kind"]) for _, labels, _ in data] for _ in range(2)]

    first, second = orders(1)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert orders(1) == [first, second]


def test_damage_is_refused(tmp_path):
    mm.data.write_tfrecords(source(), tmp_path, MODALITIES, shards=2)
    shard = tmp_path / "data-00001-of-00002.tfrecord"
    data = shard.read_bytes()
    shard.write_bytes(data[:-9])
    with pytest.raises(ValueError, match=rf"00001.*must have {len(data)} bytes.*{len(data) - 9}"):
        mm.data.from_tfrecords(tmp_path)
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    shard.write_bytes(changed)
    with pytest.raises(tf.errors.DataLossError):
        gather(mm.data.from_tfrecords(tmp_path))
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="00001"):
        mm.data.from_tfrecords(tmp_path)
    schema = json.loads((tmp_path / "schema.json").read_text(encoding="utf-8"))
    (tmp_path / "schema.json").write_text(json.dumps({**schema, "format": 99}))
    with pytest.raises(ValueError, match="must be of format 1"):
        mm.data.from_tfrecords(tmp_path)
    (tmp_path / "schema.json").unlink()
    with pytest.raises(FileNotFoundError, match="finished `write_tfrecords`"):
        mm.data.from_tfrecords(tmp_path)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"is it batched\? Pass dataset.unbatch"):
        mm.data.write_tfrecords(source().batch(2), tmp_path / "a", MODALITIES)
    with pytest.raises(ValueError, match=r"must give the inputs \['vector'\]"):
        mm.data.write_tfrecords(source(), tmp_path / "a", {"vector": MODALITIES["vector"]})
    with pytest.raises(ValueError, match=r"`compression` must be one of.*Did you mean 'GZIP'"):
        mm.data.write_tfrecords(source(), tmp_path / "a", MODALITIES, compression="GZP")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="at least one sample"):
        mm.data.write_tfrecords(source().take(0), tmp_path / "b", MODALITIES)
    mm.data.write_tfrecords(source(), tmp_path / "c", MODALITIES)
    with pytest.raises(FileExistsError, match=r"must hold no schema\.json yet"):
        mm.data.write_tfrecords(source(), tmp_path / "c", MODALITIES)


def test_tfds_by_name(tmp_path):
    modalities = {
        "image": mm.Image((8, 8, 1), backbone="SmallCNN"),
        "audio": mm.Audio(6400, 8000, optional=True),
    }
    data = mm.data.from_tfds("av_digits", "validation", modalities, data_dir=str(tmp_path))
    assert len(data) == 200
    batch, labels = gather(data)
    expected, numbers = gather(av_digits("validation", data_dir=tmp_path))
    np.testing.assert_array_equal(batch["image"], expected["image"])
    np.testing.assert_array_equal(batch["audio"], expected["audio"])
    np.testing.assert_array_equal(labels, numbers)
    assert batch["audio_present"].shape == (200, 1)
    assert batch["audio_present"].all()
    with pytest.raises(ValueError, match="Did you mean 'av_digits'"):
        mm.data.from_tfds("av_digit", "validation", modalities, data_dir=str(tmp_path))
