"""Several datasets as one: what is filled in has no effect on a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import join_datasets

SEEN = np.arange(1.0, 9.0).reshape(4, 2).astype("float32")
HEARD = -np.arange(1.0, 7.0).reshape(2, 3).astype("float32")
PHOTOS = tf.data.Dataset.from_tensor_slices(({"seen": SEEN}, [0, 1, 0, 1]))
SOUNDS = tf.data.Dataset.from_tensor_slices(({"heard": HEARD}, [1, 0]))
SPECS = {"seen": mm.Features(2, optional=True), "heard": mm.Features(3, optional=True)}


def build(heads=2, specs=None):
    keras.utils.set_random_seed(0)
    return mm.build_mcnn(specs or SPECS, heads, width=4)


def rows(dataset):
    return list(dataset.as_numpy_iterator())


def test_what_a_dataset_lacks_is_absent():
    found = rows(join_datasets([PHOTOS, SOUNDS.repeat()], build(), seed=1))
    seen = [x for x, _ in found if x["seen_present"][0]]
    heard = [x for x, _ in found if x["heard_present"][0]]
    assert len(seen) + len(heard) == len(found)
    assert len(seen) == 4  # the order is that of the dataset
    np.testing.assert_array_equal([x["seen"] for x in seen], SEEN)
    assert not any(x["heard"].any() for x in seen)
    assert not any(x["seen"].any() for x in heard)
    assert {tuple(x["heard"]) for x in heard} <= {tuple(row) for row in HEARD}
    assert [y for x, y in found if x["seen_present"][0]] == [0, 1, 0, 1]


def test_it_ends_with_the_first_that_ends_and_epochs_have_one_length():
    joined = join_datasets([PHOTOS.repeat(), SOUNDS], build())
    lengths = {len(rows(joined)) for _ in range(5)}
    assert len(lengths) == 1
    assert sum(x["heard_present"][0] for x, _ in rows(joined)) == 2


def test_weights_are_shares_of_the_samples():
    joined = join_datasets([PHOTOS.repeat(), SOUNDS.repeat()], build(), [3, 1], seed=0)
    shares = [x["seen_present"][0] for x, _ in rows(joined.take(2000))]
    assert np.mean(shares) == pytest.approx(0.75, abs=0.03)


def test_presence_that_is_given_stays():
    partly = tf.data.Dataset.from_tensor_slices(
        ({"seen": SEEN, "seen_present": np.array([[1], [0], [1], [0]], "bool")}, [0, 1, 0, 1])
    )
    found = rows(join_datasets([partly], build()))
    assert [bool(x["seen_present"][0]) for x, _ in found] == [True, False, True, False]
    assert not any(x["heard_present"][0] for x, _ in found)


def test_inputs_get_the_types_of_the_model():
    whole = tf.data.Dataset.from_tensor_slices(
        ({"seen": SEEN.astype("uint8")}, np.arange(4, dtype="int32"))
    )
    joined = join_datasets([whole, PHOTOS.map(lambda x, y: (x, tf.cast(y, "int32")))], build())
    assert joined.element_spec[0]["seen"].dtype == "float32"
    assert joined.element_spec[0]["seen_present"].dtype == "bool"


HEADS = {"digit": 3, "size": mm.Regression(2)}
DIGITS = PHOTOS.map(lambda x, y: (x, {"digit": y}))
SIZES = SOUNDS.map(lambda x, y: (x, {"size": tf.fill((2,), 5.0 + tf.cast(y, "float32"))}))


def test_labels_that_a_dataset_lacks_weigh_nothing():
    found = rows(join_datasets([DIGITS.repeat(), SIZES.repeat()], build(HEADS)).take(30))
    assert {x["seen_present"][0] for x, *_ in found} == {True, False}
    for x, labels, weights in found:
        seen = x["seen_present"][0]
        assert weights == {"digit": float(seen), "size": float(not seen)}
        assert labels["size"].shape == (2,)
        assert (labels["size"] >= 5).all() != seen


def test_no_weights_where_all_have_all_labels():
    joined = join_datasets(
        [DIGITS, SOUNDS.map(lambda x, y: (x, {"digit": y}))], build({"digit": 3})
    )
    assert len(joined.element_spec) == 2


def test_training_is_that_of_each_dataset_on_its_own_part():
    """Samples of one dataset leave the modality and the head of the other as they are."""
    model = build(HEADS)
    losses = {"digit": mm.losses.classification(), "size": "mse"}
    model.compile(keras.optimizers.SGD(0.1), losses, jit_compile=False)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    joined = join_datasets([DIGITS, SIZES.repeat()], model)
    digits_only = joined.filter(lambda x, y, w: x["seen_present"][0])
    model.fit(digits_only.batch(2), epochs=3, verbose=0)

    def moved(name):
        pairs = zip(before[name], model.get_layer(name).get_weights(), strict=True)
        return any(np.any(one != other) for one, other in pairs)

    assert moved("seen_projection")
    assert moved("digit_logits")
    assert not moved("heard_projection")
    assert not moved("size_logits")


def test_weighted_metrics_count_the_labels_that_there_are():
    model = build(HEADS)
    model.compile(
        keras.optimizers.SGD(0.0),
        {"digit": mm.losses.classification(), "size": "mse"},
        weighted_metrics={"digit": "accuracy"},
        jit_compile=False,
    )
    joined = join_datasets([DIGITS.repeat(), SIZES], model, seed=0).batch(8)
    measured = model.evaluate(joined, verbose=0, return_dict=True)
    own = [
        (labels["digit"], weights["digit"], np.argmax(model(x)["digit"], -1))
        for x, labels, weights in joined.as_numpy_iterator()
    ]
    labels, weights, predicted = map(np.concatenate, zip(*own, strict=True))
    assert 0 < weights.sum() < len(weights)
    expected = np.sum(weights * (labels == predicted)) / weights.sum()
    assert measured["digit_accuracy"] == pytest.approx(expected)


def test_students_and_joined_datasets_go_together():
    model = mm.build_dml(SPECS, {"digit": 3, "size": mm.Regression(2)}, width=4)
    joined = join_datasets([DIGITS.repeat(), SIZES], model, seed=0)
    batches = mm.data.labels_for_outputs(joined, model).batch(4)
    model.compile("sgd", mm.training.student_losses(model), jit_compile=False)
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"]).all()


BATCHES = PHOTOS.batch(2)
ERRORS = [
    (lambda: join_datasets([], build()), "`datasets` must have at least one dataset"),
    (
        lambda: join_datasets([PHOTOS], keras.Sequential([keras.Input((2,))])),
        "`model` must have a dict of inputs",
    ),
    *(
        (lambda w=w: join_datasets([PHOTOS, SOUNDS], build(), w), "`weights` must be 2 numbers")
        for w in ([1.0], [1, 0], [1, -1])
    ),
    (
        lambda: join_datasets([PHOTOS, SOUNDS], build(specs={**SPECS, "seen": mm.Features(2)})),
        r"`datasets\[1\]` must give the modalities that are not optional.*without \['seen'\]",
    ),
    (
        lambda: join_datasets([SOUNDS, PHOTOS], build(specs={"heard": SPECS["heard"]})),
        r"`datasets\[1\]` must give inputs out of .*Received also: \['seen'\]",
    ),
    (
        lambda: join_datasets([BATCHES], build()),
        r"must give single samples, 'seen' of shape \(2,\).*\(None, 2\). Join before `.batch`",
    ),
    (
        lambda: join_datasets([PHOTOS.map(lambda x, y: (x, y, 1.0, 1.0))], build()),
        r"`datasets\[0\]` must give samples",
    ),
    (
        lambda: join_datasets([PHOTOS.map(lambda x, y: x)], build()),
        r"`datasets\[0\]` must give samples",
    ),
    (
        lambda: join_datasets([PHOTOS, SIZES], build(HEADS)),
        "must give labels as an array in all of them, or as",
    ),
    (
        lambda: join_datasets([DIGITS, SIZES.map(lambda x, y: (x, {"digit": y["size"]}))], build()),
        "must give 'digit' in one shape and kind in all of them",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[m[:40] for _, m in ERRORS])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def weigh(dataset, weights):
    given = tf.data.Dataset.from_tensor_slices(weights)
    return tf.data.Dataset.zip(dataset, given).map(lambda pair, weight: (*pair, weight))


def test_sample_weights_are_kept():
    joined = join_datasets([weigh(PHOTOS, np.full(4, 3.0)), SOUNDS], build(), seed=1)
    found = {(bool(x["seen_present"][0]), float(weight)) for x, _, weight in joined}
    assert found == {(True, 3.0), (False, 1.0)}


def test_sample_weights_of_heads_are_kept():
    def head(name):
        return lambda x, y: (x, {name: y})

    one = weigh(PHOTOS.map(head("digit")), np.full(4, 3.0))
    other = weigh(SOUNDS.map(head("kind")), {"kind": np.full(2, 0.5)})
    joined = join_datasets([one, other.repeat()], build({"digit": 2, "kind": 2}), seed=1)
    found = {(float(w["digit"]), float(w["kind"])) for _, _, w in joined}
    assert found == {(3.0, 0.0), (0.0, 0.5)}
