"""Views that are absent, or dropped in training: no weight, no gradient, no effect."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from tests.models.multi_view import (
    PRESENT,
    SHAPE,
    assert_same,
    build,
    cnn,
    perturb,
    pictures,
    predict,
    views,
)


@pytest.mark.parametrize("pool_after", [None, "middle"])
@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_absent_views_have_no_effect(view_pooling, pool_after):
    options = {"view_pooling": view_pooling, "pool_after": pool_after}
    model, x = build(views(optional_views=True), **options), pictures()
    expected = predict(model, x, PRESENT)
    assert np.isfinite(expected).all()
    for what in (0.0, 77.0, np.nan, np.inf):
        spoilt = x.copy()
        spoilt[~PRESENT] = what
        np.testing.assert_array_equal(predict(model, spoilt, PRESENT), expected)
    two, one = build(views(2), **options), build(views(1), **options)
    for other in (two, one):
        other.set_weights(model.get_weights())
    assert_same(predict(two, x[1:2, [0, 2]]), expected[1:2])
    assert_same(predict(one, x[2:3, 2:]), expected[2:3])
    nothing = mm.inference_model(model).get_layer("label_logits").bias.numpy()
    assert_same(expected[3], nothing)  # no view: zeros enter the head


def test_absent_views_get_no_gradient():
    spec = views(optional_views=True)
    model, x = build(spec), pictures(size=1)
    present = keras.ops.convert_to_tensor(PRESENT[1:2])
    found = mm.testing.gradients(
        lambda t: model({"views": t["x"], "views_present": present})["label"],
        None,
        {"x": x},
    )["x"]
    assert found[0, 0].any()
    assert found[0, 2].any()
    assert not found[0, 1].any()


@pytest.mark.parametrize("optional", [False, True])
def test_presence_input(optional):
    model = build(views(optional=optional, optional_views=True))
    assert model.input["views_present"].shape == (None, 3)
    assert model.input["views_present"].dtype == "bool"
    assert sorted(build().input) == ["views"]
    assert build(views(optional=True)).input["views_present"].shape == (None, 1)
    spec = mm.modalities_of(model)["views"]
    assert spec.optional_views
    assert not spec.required().optional_views


def test_other_builders_honour_absent_views_too():
    spec = mm.Views(3, SHAPE, backbone="SmallCNN", optional_views=True)
    model = perturb(mm.build_mcnn({"views": spec}, mm.Regression(2), width=4))
    x = pictures()
    expected = predict(model, x, PRESENT)
    spoilt = x.copy()
    spoilt[~PRESENT] = np.nan
    np.testing.assert_array_equal(predict(model, spoilt, PRESENT), expected)
    two = mm.build_mcnn(
        {"views": mm.Views(2, SHAPE, backbone="SmallCNN")}, mm.Regression(2), width=4
    )
    two.set_weights(model.get_weights())
    assert_same(predict(two, x[1:2, [0, 2]]), expected[1:2])


def test_other_modalities_are_fused_and_may_be_missing():
    modalities = {"views": views(optional_views=True), "extra": mm.Features(3, optional=True)}
    model = perturb(mm.build_mvcnn(modalities, mm.Regression(2), width=4, fusion="gated"))
    x = {
        "views": pictures(),
        "views_present": PRESENT,
        "extra": np.ones((4, 3), "float32"),
        "extra_present": np.ones((4, 1), "bool"),
    }
    full = np.asarray(model(x)["label"])
    changed = np.asarray(model({**x, "extra": 2 * x["extra"]})["label"])
    assert (np.abs(changed - full).max(axis=1) > 1e-5).all()
    without = {**x, "extra_present": np.zeros((4, 1), "bool")}
    alone = np.asarray(model(without)["label"])
    np.testing.assert_array_equal(model({**without, "extra": 2 * x["extra"]})["label"], alone)
    assert np.isfinite(alone).all()


def test_optional_views_must_be_a_bool():
    with pytest.raises(TypeError, match=r"`optional_views` must be a bool.*=1"):
        mm.Views(2, SHAPE, optional_views=1)


@pytest.mark.parametrize("presence", [{}, {"optional": True}, {"optional_views": True}])
@pytest.mark.parametrize("pool_after", [None, "middle"])
def test_view_dropout_drops_some_of_the_views_that_are_there(presence, pool_after):
    options = {"view_dropout": 0.5, "saliency": True, "seed": 0, "pool_after": pool_after}
    model = build(views(**presence), view_pooling="mean", **options)
    there = PRESENT if "optional_views" in presence else PRESENT[:, 2:] | [[False]] * 3 + [[False]]
    there = np.tile(there, (50, 1))
    x = {"views": np.tile(pictures(), (50, 1, 1, 1, 1))}
    if presence:
        x["views_present"] = there
    there = np.broadcast_to(there if presence else True, (200, 3))
    share = np.asarray(model(x, training=True)["views_saliency"])
    assert not share[~there].any()
    np.testing.assert_allclose(share.sum(axis=1), there.any(axis=1), rtol=1e-5)
    dropped = (share == 0) & there
    assert 0.1 < dropped[there].mean() < 0.5
    shares = mm.inference_model(model)(x)["views_saliency"]
    np.testing.assert_array_equal(np.asarray(shares) > 0, there)


def test_view_dropout_is_for_training_only():
    backbone = cnn()
    model = build(views(backbone=backbone), view_dropout=0.5)
    plain = build(views(backbone=backbone))
    plain.set_weights(model.get_weights())
    x = pictures()
    np.testing.assert_array_equal(predict(model, x), predict(plain, x))
    shipped = mm.inference_model(model)
    assert not any(isinstance(layer, mm.layers.ViewDropout) for layer in shipped.layers)
    np.testing.assert_array_equal(predict(shipped, x), predict(plain, x))


def test_two_sets_of_views_drop_views_of_their_own():
    modalities = {"a": views(6), "b": views(6)}
    model = mm.build_mvcnn(
        modalities, 2, width=4, view_pooling="mean", view_dropout=0.5, saliency=True, seed=0
    )
    x = {"a": pictures(6, 50), "b": pictures(6, 50)}
    outputs = model(x, training=True)
    a, b = (np.asarray(outputs[f"{name}_saliency"]) > 0 for name in "ab")
    assert 0.4 < (a == b).mean() < 0.6


def test_view_dropout_makes_few_views_predict_as_many_do():
    """A maximum over few is lower than one over many: dropout teaches that it may be."""

    def accuracy_of_one_view(rate):
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 600)
        x = rng.uniform(0, 1, (600, 8, *SHAPE)) * (0.5 + 0.5 * labels.reshape(-1, 1, 1, 1, 1))
        inputs = keras.Input(SHAPE)
        pixels = keras.Model(inputs, keras.layers.Flatten()(inputs), name="pixels")
        spec = mm.Views(8, SHAPE, backbone=pixels, preprocessing="none")
        model = mm.build_mvcnn({"views": spec}, 2, width=8, view_dropout=rate, seed=0)
        optimizer = keras.optimizers.Adam(0.01)
        model.compile(optimizer, mm.losses.classification(), jit_compile=False)
        model.fit({"views": x[:400]}, labels[:400], batch_size=50, epochs=10, verbose=0)
        found = mm.with_views(model, 1).predict({"views": x[400:, :1]}, verbose=0)["label"]
        return (found.argmax(axis=1) == labels[400:]).mean()

    assert accuracy_of_one_view(0.8) > accuracy_of_one_view(0.0) + 0.1
