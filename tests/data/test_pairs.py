"""`pairs`: matching and non-matching pairs in a given ratio."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import pairs

COUNT = 24
NUMBERS = np.arange(COUNT)


def batches(size=COUNT, labels=NUMBERS, weights=None, **more):
    inputs = {"image": NUMBERS[:, None].astype("float32"), "text": NUMBERS[:, None], **more}
    parts = (inputs, labels) if weights is None else (inputs, labels, weights)
    return tf.data.Dataset.from_tensor_slices(parts).batch(size)


def found(dataset):
    """Returns image, text and match of every pair."""
    parts = list(dataset.as_numpy_iterator())
    inputs = {key: np.concatenate([part[0][key] for part in parts]) for key in parts[0][0]}
    return (
        inputs["image"][:, 0].astype(int),
        inputs["text"][:, 0],
        np.concatenate([p[1] for p in parts]),
        inputs,
    )


@pytest.mark.parametrize("negatives", [0.5, 1.0, 3.0])
def test_the_ratio_and_what_matches(negatives):
    image, text, match, _ = found(pairs(batches(12), "text", negatives=negatives, seed=0))
    assert (match == 1).sum() == COUNT
    assert (match == 0).sum() == negatives * COUNT
    np.testing.assert_array_equal(match == 1, image == text)
    np.testing.assert_array_equal(np.sort(image[match == 1]), NUMBERS)
    assert len(set(zip(image, text, strict=True))) == len(match)  # none comes twice
    assert set(np.bincount(image[match == 0], minlength=COUNT)) <= {
        int(negatives),
        int(np.ceil(negatives)),
    }
    assert (image // 12 == text // 12).all()  # partners are of the same batch
    assert (np.diff(match) != 0).sum() > 4  # in random order


def test_partners_are_drawn_evenly():
    data = pairs(batches(4).take(1).repeat(400), "text", seed=0)
    image, text, match, _ = found(data)
    counts = np.bincount(4 * image[match == 0] + text[match == 0], minlength=16).reshape(4, 4)
    assert not np.diag(counts).any()
    np.testing.assert_allclose(counts[~np.eye(4, dtype=bool)], 400 / 3, rtol=0.25)


def test_samples_of_the_same_label_are_no_negatives():
    labels = NUMBERS % 3
    image, text, match, _ = found(
        pairs(batches(labels=labels), "text", negatives=4, same_label=True, seed=0)
    )
    assert (labels[image[match == 0]] != labels[text[match == 0]]).all()
    by_head = batches(labels={"a": labels, "b": NUMBERS})
    image, text, match, _ = found(pairs(by_head, "text", same_label=True, head="a", seed=0))
    assert (labels[image[match == 0]] != labels[text[match == 0]]).all()


def test_fewer_negatives_where_there_are_too_few():
    one_class = pairs(batches(labels=np.zeros(COUNT)), "text", same_label=True, seed=0)
    assert found(one_class)[2].tolist() == [1] * COUNT
    _image, _, match, _ = found(pairs(batches(3), "text", negatives=5, seed=0))
    assert (match == 0).sum() == 2 * COUNT  # each has two partners in a batch of three
    assert found(pairs(batches(1), "text", seed=0))[2].tolist() == [1] * COUNT


def test_hard_negatives():
    """The image says how near the text is: the hardest negatives are the neighbours."""

    def nearness(inputs):
        return -tf.abs(inputs["image"] - tf.transpose(tf.cast(inputs["text"], tf.float32)) + 0.25)

    data = pairs(batches(), "text", negatives=2, hardness=nearness, seed=0)
    image, text, match, _ = found(data)
    distance = np.abs(image - text)[match == 0]
    inner = (image[match == 0] > 0) & (image[match == 0] < COUNT - 1)
    assert (distance[inner] == 1).all()
    assert (found(pairs(batches(), "text", negatives=2, seed=0))[2] == match).any()


def test_hardness_follows_a_model_that_trains():
    weight = tf.Variable(1.0)

    def scores(inputs):
        return weight * (inputs["image"] + 1) * tf.transpose(tf.cast(inputs["text"], tf.float32))

    data = pairs(batches(), "text", hardness=scores, seed=0)
    _, text, match, _ = found(data)
    assert (text[match == 0] >= COUNT - 2).all()
    weight.assign(-1.0)
    _, text, match, _ = found(data)
    assert (text[match == 0] <= 1).all()


def test_presence_moves_along_and_the_absent_are_no_partners():
    present = NUMBERS[:, None] % 2 == 0
    _image, text, match, inputs = found(
        pairs(batches(text_present=present), "text", negatives=3, seed=0)
    )
    np.testing.assert_array_equal(inputs["text_present"][:, 0], text % 2 == 0)
    assert (text[match == 0] % 2 == 0).all()


def test_several_modalities_move_together_and_weights_stay():
    data = batches(other=NUMBERS[:, None], weights=NUMBERS.astype("float32"))
    parts = list(pairs(data, ["text", "other"], seed=0).as_numpy_iterator())
    inputs, _match, weights = parts[0]
    np.testing.assert_array_equal(inputs["text"], inputs["other"])
    np.testing.assert_array_equal(weights, inputs["image"][:, 0])


def test_seeds():
    def run(**options):
        return found(pairs(batches(), "text", **{"seed": 0, "num_parallel_calls": 1} | options))[1]

    np.testing.assert_array_equal(run(), run(num_parallel_calls=4))
    assert (run() != run(seed=1)).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"exchange": "sound"}, ValueError, "`exchange` must be one of"),
        ({"exchange": ["image", "text"]}, ValueError, "some of the modalities, not all"),
        ({"exchange": []}, ValueError, "`exchange` must be some of the modalities"),
        ({"negatives": -1}, ValueError, "`negatives` must be at least 0"),
        ({"same_label": "yes"}, TypeError, "`same_label` must be a bool"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        pairs(batches(), **{"exchange": "text"} | options)


def test_errors_of_labels_and_elements():
    with pytest.raises(ValueError, match="`same_label` must be False for labels that are no"):
        pairs(batches(labels=np.ones((COUNT, 3))), "text", same_label=True)
    with pytest.raises(ValueError, match="must give batches"):
        pairs(batches().unbatch(), "text")


def test_fit_takes_it():
    model = mm.build_mcnn({"image": mm.Features(1), "text": mm.Text(1, 50)}, mm.MultiLabel(1))
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    data = pairs(batches(8), "text", seed=0).map(lambda x, y: (x, y[:, None]))
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
