"""mm.Text: the vocabulary and the ids."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm

TEXTS = ["the cat sat", "the dog", "the cat!"]
IDS = [[2, 3, 1, 0], [2, 1, 1, 1]]  # the = 2, cat = 3, unknown = 1, padding = 0
QUERIES = ["The cat flew", "the a b c cat"]


@pytest.fixture
def spec():
    return mm.Text(max_tokens=4, vocabulary_size=4).adapt(TEXTS)


def test_adapt_learns_the_most_frequent_tokens(spec):
    assert spec.vocabulary == ("the", "cat")


@pytest.mark.parametrize(
    "texts",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        tf.data.Dataset.from_tensor_slices(TEXTS).batch(2),
    ],
    ids=["tuple", "strings", "objects", "tf.data"],
)
def test_adapt_takes(texts, spec):
    assert mm.Text(max_tokens=4, vocabulary_size=4).adapt(texts) == spec


def test_adapt_again_forgets_what_was_learnt(spec):
    assert spec.adapt(["b b a"]).vocabulary == ("b", "a")
    assert spec.vocabulary == ("the", "cat")


def test_adapt_respects_split_and_standardize():
    spec = mm.Text(4, 9, split="character", standardize=None).adapt(["AAb"])
    assert spec.vocabulary == ("A", "b")
    assert spec.vectorize(["bAa"]).tolist() == [[3, 2, 1, 0]]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_vectorize_numpy(spec, kind):
    ids = spec.vectorize(kind(QUERIES))
    assert isinstance(ids, np.ndarray)
    assert ids.dtype == "int32"
    assert ids.tolist() == IDS


def test_vectorize_within_tf_data_and_outside_again(spec):
    data = tf.data.Dataset.from_tensor_slices(QUERIES).batch(2).map(spec.vectorize)
    (ids,) = list(data)
    assert ids.numpy().tolist() == IDS
    assert spec.vectorize(QUERIES).tolist() == IDS


def test_a_used_vectorizer_is_no_part_of_the_spec(spec):
    fresh = mm.Text.from_config(spec.get_config())
    spec.vectorize(QUERIES)
    assert spec == fresh
    assert spec.get_config() == fresh.get_config()


def test_saved_model_gives_the_same_ids(spec, tmp_path):
    model = mm.build_mcnn({"text": spec}, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    restored = mm.modalities_of(loaded)["text"]
    assert restored == spec
    assert restored.vectorize(QUERIES).tolist() == IDS


@pytest.mark.parametrize("method", ["adapt", "vectorize"])
def test_one_string_is_no_sequence_of_texts(spec, method):
    with pytest.raises(TypeError, match=r"`texts` must be a sequence.*'the cat'; pass \[texts\]"):
        getattr(spec, method)("the cat")


def test_vectorize_needs_a_vocabulary():
    with pytest.raises(ValueError, match=r"needs a vocabulary: call `spec = spec.adapt\(texts\)`"):
        mm.Text(4, 9).vectorize(["a"])
