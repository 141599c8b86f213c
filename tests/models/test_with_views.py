"""A model for another number of views: the same weights, however many there are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from tests.models.multi_view import (
    PRESENT,
    SHAPE,
    SMALL,
    assert_same,
    build,
    cnn,
    pictures,
    predict,
    views,
)


def weights(model):
    return {id(weight) for weight in model.weights}


@pytest.mark.parametrize("pool_after", [None, "middle"])
@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_fewer_views_are_those_of_a_model_built_for_them(view_pooling, pool_after):
    options = {"view_pooling": view_pooling, "pool_after": pool_after, "saliency": True}
    twelve, three = build(views(12), **options), build(views(3), **options)
    three.set_weights(twelve.get_weights())
    fewer, x = mm.with_views(twelve, 3), pictures(3)
    assert weights(fewer) == weights(twelve)
    assert_same(predict(fewer, x), predict(three, x))
    shares = [np.asarray(one({"views": x})["views_saliency"]) for one in (fewer, three)]
    assert_same(*shares)
    assert mm.modalities_of(fewer)["views"].count == 3
    assert mm.modalities_of(twelve)["views"].count == 12


def test_a_model_of_twelve_views_is_evaluated_with_three_after_loading(tmp_path):
    spec = mm.Views(12, SHAPE, backbone="SmallCNN")
    model = mm.build_mvcnn({"views": spec}, 2, width=4, view_dropout=0.5)
    model.compile("sgd", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    x, labels = pictures(12, size=8), np.arange(8) % 2
    model.fit({"views": x}, labels, verbose=0)
    model.save(tmp_path / "twelve.keras")
    three = mm.with_views(keras.models.load_model(tmp_path / "twelve.keras"), 3)
    found = three.evaluate({"views": x[:, :3]}, labels, return_dict=True, verbose=0)
    predicted = three.predict({"views": x[:, :3]}, verbose=0)["label"]
    assert found["accuracy"] == pytest.approx((predicted.argmax(axis=1) == labels).mean())
    assert_same(predicted, predict(mm.with_views(model, 3), x[:, :3]))
    three.save(tmp_path / "three.keras")
    again = keras.models.load_model(tmp_path / "three.keras")
    assert again.count_params() == model.count_params()
    assert_same(predict(again, x[:, :3]), predicted)
    served = tf.saved_model.load(str(mm.export(three, tmp_path / "served", check=False)))
    assert_same(served.serve({"views": tf.constant(x[:, :3])})["label"], predicted)


def test_three_of_twelve_views_may_also_be_marked_as_there():
    model = build(views(12, optional_views=True))
    x, there = np.zeros((4, 12, *SHAPE), "float32"), np.zeros((4, 12), "bool")
    x[:, :3], there[:, :3] = pictures(3), True
    present = np.ones((4, 3), "bool")
    three = mm.with_views(model, 3)
    assert three.input["views_present"].shape == (None, 3)
    assert_same(predict(three, x[:, :3], present), predict(model, x, there))
    np.testing.assert_array_equal(predict(three, pictures(3), PRESENT)[3].shape, (2,))


def test_more_views_than_before_and_training_of_both():
    three, x = build(), pictures(5)
    five = mm.with_views(three, 5)
    five.compile("sgd", "mse", jit_compile=False)
    before = three.get_weights()
    five.fit({"views": x}, np.ones((4, 2)), verbose=0)
    assert any(np.any(old != new) for old, new in zip(before, three.get_weights(), strict=True))
    assert_same(predict(five, x[:, [0, 1, 2, 2, 1]]), predict(three, x[:, :3]))


def test_view_dropout_acts_on_the_new_number():
    options = {"view_pooling": "mean", "view_dropout": 0.5, "saliency": True, "seed": 0}
    five = mm.with_views(build(**options), 5)
    share = np.asarray(five({"views": pictures(5, 50)}, training=True)["views_saliency"])
    assert share.shape == (50, 5)
    assert 0.3 < (share == 0).mean() < 0.7
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("argument", ["share_backbone", "share_encoder"])
def test_each_set_of_views_has_a_number_of_its_own(argument):
    modalities = {"a": SMALL, "b": SMALL, "c": mm.Video(2, SHAPE, backbone="SmallCNN")}
    groups = {argument: [("a", "b")]}
    model = mm.build_mvcnn(modalities, mm.Regression(2), width=4, **groups)
    changed = mm.with_views(model, {"a": 5})
    both = mm.with_views(model, {"a": 5, "b": 2})
    x = {"a": pictures(3), "b": pictures(3, seed=1), "c": pictures(2, seed=2)}
    five = x | {"a": x["a"][:, [0, 1, 2, 2, 1]]}
    assert_same(changed(five)["label"], model(x)["label"])
    assert [both.input[name].shape[1] for name in "abc"] == [5, 2, 2]
    for name, inputs in (("a", five), ("b", five)):
        fewer = inputs | {"b": x["b"][:, :2]}
        moved = fewer | {name: np.flip(fewer[name], axis=2)}
        assert np.abs(both(moved)["label"] - both(fewer)["label"]).max() > 1e-5


def test_other_builders_take_another_number_too():
    model = mm.build_mcnn({"views": mm.Views(4, SHAPE, backbone=cnn())}, mm.Regression(2), width=4)
    x = pictures(2)
    assert_same(predict(mm.with_views(model, 2), x), predict(model, np.tile(x, (1, 2, 1, 1, 1))))


@pytest.mark.parametrize(
    ("make", "count", "error", "message"),
    [
        (lambda: None, 3, TypeError, "`model` must be a functional keras.Model.*None"),
        (
            lambda: mm.build_mcnn({"x": mm.Features(3)}, 2, width=4),
            3,
            ValueError,
            r"must have a modality that is mm\.Views",
        ),
        (build, 0, ValueError, "`count` must be an integer of at least 1"),
        (build, 2.5, TypeError, "`count` must be an integer"),
        (build, {"views": 0}, ValueError, r"`count\['views'\]` must be an integer of at least 1"),
        (build, {"view": 3}, ValueError, "`count` must be one of .*Did you mean 'views'"),
        (
            lambda: build(mm.Views(2, SHAPE, backbone="SmallCNN", shared=False)),
            3,
            ValueError,
            "`count` must leave out views that have a backbone each.*'views'",
        ),
    ],
)
def test_errors(make, count, error, message):
    with pytest.raises(error, match=message):
        mm.with_views(make(), count)
