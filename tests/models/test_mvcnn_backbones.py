"""Backbones of views: one or one each, cut or whole, shared, frozen, of one's own."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from tests.models.multi_view import (
    SHAPE,
    SMALL,
    assert_same,
    build,
    cnn,
    perturb,
    pictures,
    predict,
    views,
)


@pytest.mark.parametrize("pool_after", [None, "stage1_pool"])
def test_a_cnn_for_each_view_equals_a_loop(pool_after, tmp_path):
    spec = mm.Views(2, SHAPE, backbone="SmallCNN", shared=False, preprocessing="none")
    model, x = build(spec, pool_after=pool_after), pictures(2)
    cnns = [model.get_layer(f"views_backbone{suffix}") for suffix in ("", "_1")]
    assert not {id(w) for w in cnns[0].weights} & {id(w) for w in cnns[1].weights}
    maps = [np.asarray(one(x[:, view])) for view, one in enumerate(cnns)]
    pooled = np.maximum(*maps)
    if pool_after:  # CNN2 is one, that of the first
        pooled = np.asarray(model.get_layer("views_backbone_tail")(pooled))
    kernel, bias = model.get_layer("views_projection").get_weights()
    positions = np.maximum(pooled.reshape(4, -1, 64) @ kernel.reshape(64, 4) + bias, 0)
    kernel, bias = model.get_layer("label_logits").get_weights()
    expected = positions.mean(axis=1) @ kernel + bias
    assert_same(predict(model, x), expected)
    assert np.abs(predict(model, x[:, ::-1]) - expected).max() > 1e-4  # views have their places
    if pool_after:
        model.save(tmp_path / "m.keras")
        assert_same(predict(keras.models.load_model(tmp_path / "m.keras"), x), expected)


@pytest.mark.parametrize("pool_after", [None, "stage1_pool"])
@pytest.mark.parametrize("argument", ["share_backbone", "share_encoder"])
def test_two_sets_of_views_may_share(argument, pool_after, tmp_path):
    modalities = {"inside": SMALL, "outside": mm.Views(3, SHAPE, backbone="SmallCNN")}
    options = {argument: True, "pool_after": pool_after, "width": 4}
    model = perturb(mm.build_mvcnn(modalities, mm.Regression(2), **options))
    names = {layer.name for layer in model.layers if isinstance(layer, keras.Model)}
    whole = {"inside_outside_backbone"}
    assert names == (whole | {"inside_outside_backbone_tail"} if pool_after else whole)
    x = {"inside": pictures(), "outside": pictures(seed=1)}
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.count_params() == model.count_params()
    assert_same(loaded(x)["label"], model(x)["label"])


def test_ones_own_backbone_may_be_cut_more_than_once():
    mine = cnn()
    first, second = (build(views(backbone=mine), pool_after="middle") for _ in range(2))
    assert {id(w) for w in mine.weights} <= {id(w) for w in first.weights}
    assert {id(w) for w in mine.weights} <= {id(w) for w in second.weights}
    assert mine.name == "mine"
    other = build(views(backbone=mine), pool_after="one")
    assert np.isfinite(predict(other, pictures())).all()


def test_frozen_backbone_stays_frozen_when_cut():
    model = build(
        mm.Views(2, SHAPE, backbone="SmallCNN", trainable=False), pool_after="stage1_pool"
    )
    for half in ("views_backbone", "views_backbone_tail"):
        assert not model.get_layer(half).trainable_weights
    part = build(mm.Views(2, SHAPE, backbone="SmallCNN", trainable=9), pool_after="stage1_pool")
    assert not part.get_layer("views_backbone").trainable_weights
    assert part.get_layer("views_backbone_tail").trainable_weights


def test_backbones_may_give_vectors_or_sequences():
    x = pictures()
    for target in ((64,), (4, 16)):
        inputs = keras.Input(SHAPE)
        flat = keras.Model(inputs, keras.layers.Reshape(target)(inputs))
        model = build(views(backbone=flat))
        kernel, bias = model.get_layer("views_projection").get_weights()
        pooled = x.reshape(4, 3, *target).max(axis=1)
        positions = np.maximum(pooled @ kernel + bias, 0).reshape(4, -1, 4)
        kernel, bias = model.get_layer("label_logits").get_weights()
        assert_same(predict(model, x), positions.mean(axis=1) @ kernel + bias)


def test_views_and_another_modality_may_share_an_uncut_backbone():
    modalities = {"x": SMALL, "y": mm.Image(SHAPE, backbone="SmallCNN")}
    model = mm.build_mvcnn(modalities, 2, width=4, share_backbone=True)
    assert [m.name for m in model.layers if isinstance(m, keras.Model)] == ["x_y_backbone"]
