"""The retrieval index: an oracle, files that TensorFlow alone loads, items added later."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.exporting import RetrievalIndex
from mm_keras.exporting.nearest_items import nearest
from tests.conformance.cases import floats

TEXTS = ["red shoe", "blue shirt", "green shoe with red laces", "red hat"]
PICTURES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype("uint8")
NAMES = [f"foto_{n}_é.jpg" for n in range(30)]
HERE = np.ones((30, 1), bool)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return mm.build_cmn(
        {
            "image": mm.Image((8, 8, 1), backbone="SmallCNN", optional=True),
            "text": mm.Text(6, 30, embedding=8).adapt(TEXTS),
        },
        3,
        width=8,
        embedding=6,
    )


@pytest.fixture(scope="module")
def index(model):
    """Holds 30 pictures; do not add to it."""
    index = RetrievalIndex(model, query="text", items="image", k=4, preprocessing=True)
    index.add({"image": PICTURES[:20], "image_present": HERE[:20]}, NAMES[:20])
    later = {"image": PICTURES[20:], "image_present": HERE[20:], "text": np.zeros((10, 6))}
    batches = tf.data.Dataset.from_tensor_slices((later, np.arange(10))).batch(4)
    index.add(batches, NAMES[20:])
    return index


@pytest.fixture(scope="module")
def folder(index, tmp_path_factory):
    return index.save(tmp_path_factory.mktemp("index") / "index")


@pytest.fixture(scope="module")
def expected(model):
    """Names and scores of all pictures for each text, in NumPy."""
    spec = mm.modalities_of(model)["text"]
    texts = mm.inference_model(model, outputs=["text_embedding"])
    pictures = mm.inference_model(model, outputs=["image_embedding"])
    u = texts.predict({"text": spec.vectorize(TEXTS)}, verbose=0)["text_embedding"]
    v = pictures.predict({"image": PICTURES, "image_present": HERE}, verbose=0)["image_embedding"]
    scores = u @ v.T
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.array(NAMES)[order], np.take_along_axis(scores, order, axis=1)


QUERIES = {"text": np.array(TEXTS, object)}


def assert_finds(found, expected, k):
    np.testing.assert_array_equal(found.ids, expected[0][:, :k])
    np.testing.assert_allclose(found.scores, expected[1][:, :k], atol=1e-5)


def test_a_search_is_a_sort(index, expected):
    assert_finds(index.search(QUERIES, k=7), expected, 7)
    assert_finds(index.search(QUERIES, batch_size=3), expected, 4)
    assert_finds(index.search(QUERIES, k=99), expected, 30)
    assert len(index) == 30
    assert index.ids == NAMES


@pytest.mark.parametrize("chunk", [1, 7, 30, 100])
def test_chunks_find_the_same_and_the_first_of_equals(chunk):
    queries, items = floats(5, 4), floats(30, 4, seed=1)
    items[11] = items[3]
    queries[2] = 0  # equally near to all
    scores = queries @ items.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :9]
    found, places = nearest(tf.constant(queries), tf.constant(items), tf.constant(9), chunk)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(found, np.take_along_axis(scores, order, axis=1), atol=1e-5)


def test_a_loaded_index_finds_the_same_and_takes_more(folder, index, expected, tmp_path, model):
    path = tmp_path / "index"
    shutil.copytree(folder, path)
    loaded = RetrievalIndex.load(path)
    assert_finds(loaded.search(QUERIES, k=5), expected, 5)
    loaded.add({"image": PICTURES[:2] // 2, "image_present": HERE[:2]}, ["new", "newer"])
    loaded.save(path)
    again = RetrievalIndex.load(path)
    assert again.ids == [*NAMES, "new", "newer"]
    assert again.card["index"]["count"] == 32
    whole = RetrievalIndex(model, "text", "image", preprocessing=True)
    pictures = np.concatenate([PICTURES, PICTURES[:2] // 2])
    whole.add({"image": pictures, "image_present": np.ones((32, 1), bool)}, again.ids)
    for one, other in zip(again.search(QUERIES, 32), whole.search(QUERIES, 32), strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, other)
    assert len(index) == 30


ALONE = """
import json, sys
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
found = loaded.signatures["serving_default"](text=texts)
more = loaded.search({"text": texts}, 6)
pictures = tf.zeros((1, 8, 8, 1), tf.uint8)
inputs = {"image": pictures, "image_present": tf.ones((1, 1), tf.bool)}
embedding = loaded.embed_items(inputs)["embedding"]
count = loaded.append(embedding, tf.constant(["black"]))["count"]
every = loaded.search({"text": texts}, 31)["ids"].numpy()
print(json.dumps({
    "ids": [[i.decode() for i in row] for row in found["ids"].numpy()],
    "scores": found["scores"].numpy().tolist(),
    "more": [[i.decode() for i in row] for row in more["ids"].numpy()],
    "count": int(count),
    "added": all(b"black" in row for row in every),
    "modules": [m for m in sys.modules if m.startswith("mm_keras")],
}))
"""


@pytest.mark.slow
def test_a_fresh_process_needs_tensorflow_alone(folder, expected):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ids"] == expected[0][:, :4].tolist()
    np.testing.assert_allclose(found["scores"], expected[1][:, :4], atol=1e-5)
    assert found["more"] == expected[0][:, :6].tolist()
    assert (found["count"], found["added"]) == (31, True)
    assert found["modules"] == []


def test_load_gives_it_as_any_saved_model(folder, expected):
    found = mm.load(folder).predict(QUERIES)
    names = [[name.decode() for name in row] for row in found["ids"]]
    assert names == expected[0][:, :4].tolist()


def test_integers_and_one_modality_in_itself(model):
    index = RetrievalIndex(model, "image", "image")
    index.add({"image": PICTURES[:5], "image_present": HERE[:5]})
    index.add({"image": PICTURES[5:9], "image_present": HERE[5:9]}, np.array([30, 20, 10, 9]))
    found = index.search({"image": PICTURES[:9], "image_present": HERE[:9]}, k=1)
    assert found.ids[:, 0].tolist() == [0, 1, 2, 3, 4, 30, 20, 10, 9]
    assert found.ids.dtype == np.int64
    np.testing.assert_allclose(found.scores, 1, atol=1e-5)
    absent = index.search({"image": PICTURES[:1], "image_present": ~HERE[:1]}, k=9)
    assert not absent.scores.any()


def items(count=2, **more):
    return {"image": PICTURES[:count], "image_present": HERE[:count], **more}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.add({"image": PICTURES}), ValueError, r"without: \['image_present'\]"),
        (lambda i: i.add(items(image=np.zeros((2, 8, 8, 3)))), ValueError, "must have the shape"),
        (lambda i: i.add([PICTURES]), TypeError, "`items` must be {input: array}, or batches"),
        (lambda i: i.add([]), ValueError, "`items` must have at least one item"),
        (
            lambda i: i.add(items(image_present=np.array([[True], [False]])), ["a", "b"]),
            ValueError,
            r"must have the modality.*1 without it: \['b'\]",
        ),
        (lambda i: i.add(items(), ["a"]), ValueError, "`ids` must be a sequence of 2.*Received: 1"),
        (lambda i: i.add(items(), "ab"), ValueError, "`ids` must be a sequence of 2"),
        (lambda i: i.add(items(), [1, 2]), ValueError, r"strings throughout.*\['int', 'str'\]"),
        (lambda i: i.add(items(), ["a", "a"]), ValueError, "once each. Received again: 'a'"),
        (lambda i: i.add(items(), ["a", NAMES[3]]), ValueError, "Received again: 'foto_3_é.jpg'"),
        (lambda i: i.search({"txt": TEXTS}), ValueError, "Did you mean 'text'"),
        (lambda i: i.search(TEXTS), TypeError, "`inputs` must be a dict"),
        (lambda i: i.search({"text": np.zeros(2)}), TypeError, "must be strings"),
        (lambda i: i.search(QUERIES, k=0), ValueError, "`k` must be an integer of at least 1"),
    ],
)
def test_errors_leave_the_index_as_it_is(index, call, error, message):
    with pytest.raises(error, match=message):
        call(index)
    assert index.ids == NAMES
    assert index._core.embeddings.shape[0] in (None, 30)
    assert len(index._core.embeddings.numpy()) == 30


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"query": "txt"}, ValueError, "`query` must be one of.*Did you mean 'text'"),
        ({"items": "label"}, ValueError, "`items` must be one of"),
        ({"k": 0}, ValueError, "`k` must be an integer"),
        ({"preprocessing": "fit"}, ValueError, "`preprocessing` must be one of"),
        ({"model": "model"}, TypeError, "`model` must be a keras.Model with a dict of outputs"),
        (
            {"model": mm.build_mcnn({"a": mm.Features(2), "b": mm.Features(2)}, 2)},
            ValueError,
            r"must have embeddings.*outputs \['label'\]",
        ),
    ],
)
def test_argument_errors(model, options, error, message):
    with pytest.raises(error, match=message):
        RetrievalIndex(**{"model": model, "query": "text", "items": "image", **options})


def test_empty_and_wrong_folders(model, folder, tmp_path):
    empty = RetrievalIndex(model, "text", "image")
    with pytest.raises(ValueError, match="must have items to search"):
        empty.search({"text": np.zeros((1, 6), "int32")})
    with pytest.raises(ValueError, match="must have items to be saved"):
        empty.save(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match="which has other contents"):
        RetrievalIndex.load(folder).save(tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="`path` must name an existing folder"):
        RetrievalIndex.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="`path` must be the folder of a retrieval index"):
        RetrievalIndex.load(tmp_path / "full")
