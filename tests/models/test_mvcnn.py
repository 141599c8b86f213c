"""Multi-view networks: what views, their order and their number do to the predictions."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from tests.models.multi_view import (
    SHAPE,
    SMALL,
    assert_same,
    build,
    cnn,
    pictures,
    predict,
    views,
)

CUTS = [None, "middle", "one"]


@pytest.mark.parametrize("pool_after", CUTS)
def test_all_views_in_one_call_equal_a_loop(pool_after):
    model, x = build(pool_after=pool_after), pictures()
    first = model.get_layer("views_backbone")
    pooled = np.max([np.asarray(first(x[:, view])) for view in range(3)], axis=0)
    if pool_after:
        pooled = np.asarray(model.get_layer("views_backbone_tail")(pooled))
    kernel, bias = model.get_layer("views_projection").get_weights()
    positions = np.maximum(pooled.reshape(4, -1, 4) @ kernel.reshape(4, 4) + bias, 0)
    kernel, bias = model.get_layer("label_logits").get_weights()
    assert_same(predict(model, x), positions.mean(axis=1) @ kernel + bias)


def test_layer_to_pool_after_matters():
    x, backbone = pictures(), cnn()
    models = [build(views(backbone=backbone), pool_after=cut) for cut in CUTS]
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
    outputs = [predict(model, x) for model in models]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    assert_same(outputs[1], outputs[2])  # growing, affine: a maximum passes through "middle"


@pytest.mark.parametrize("cut", ["stage1_pool", "stage2_in_relu", "stage3_relu", None])
def test_cuts_of_the_small_cnn_leave_the_weights_as_they_are(cut):
    model = build(SMALL, pool_after=cut)
    whole = mm.build_mcnn(
        {"views": mm.Image(SHAPE, backbone="SmallCNN")}, mm.Regression(2), width=4
    )
    assert [w.shape for w in model.weights] == [w.shape for w in whole.weights]
    assert [w.path.split("/")[-2:] for w in model.weights] == [
        w.path.split("/")[-2:] for w in whole.weights
    ]


@pytest.mark.parametrize("pool_after", CUTS)
@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_order_of_views_changes_nothing(view_pooling, pool_after):
    model, x = build(view_pooling=view_pooling, pool_after=pool_after), pictures()
    assert_same(predict(model, x[:, [2, 0, 1]]), predict(model, x))
    assert np.abs(predict(model, x[:, [0, 0, 1]]) - predict(model, x)).max() > 1e-4


@pytest.mark.parametrize("pool_after", CUTS)
@pytest.mark.parametrize("view_pooling", ["max", "mean", "logsumexp"])
def test_one_view_is_the_plain_cnn(view_pooling, pool_after):
    model = build(views(1), view_pooling=view_pooling, pool_after=pool_after)
    plain = mm.build_mcnn({"views": mm.Image(SHAPE, backbone=cnn())}, mm.Regression(2), width=4)
    plain.set_weights(model.get_weights())
    x = pictures(1)
    assert_same(predict(model, x), plain({"views": x[:, 0]})["label"])


@pytest.mark.parametrize("pool_after", CUTS)
@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_weights_of_many_views_serve_few(view_pooling, pool_after):
    options = {"view_pooling": view_pooling, "pool_after": pool_after}
    twelve, two = build(views(12), **options), build(views(2), **options)
    two.set_weights(twelve.get_weights())
    x = pictures(2)
    assert_same(predict(two, x), predict(twelve, np.tile(x, (1, 6, 1, 1, 1))))  # all 6 times


def test_duplicated_views_change_no_maximum():
    two, three = build(views(2)), build()
    three.set_weights(two.get_weights())
    x = pictures(2)
    assert_same(predict(three, x[:, [0, 1, 1]]), predict(two, x))


@pytest.mark.parametrize(("view_pooling", "pool_after"), [("max", None), ("attention", "middle")])
def test_the_two_stages_of_the_paper(view_pooling, pool_after):
    """The CNN of single views, its head too, is where the network of views starts from."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    x = rng.uniform(0, 255, (60, 3, *SHAPE)) * (0.6 + 0.4 * labels.reshape(-1, 1, 1, 1, 1))
    options = {"view_pooling": view_pooling, "pool_after": pool_after, "width": 4}
    model = mm.build_mvcnn({"views": views()}, 2, **options)

    def train(model, x, labels, rate, epochs):
        loss = mm.losses.classification()
        model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
        model.fit({"views": x}, labels, epochs=epochs, verbose=0)

    def accuracy():
        return (predict(model, x).argmax(axis=1) == labels).mean()

    untrained, before = accuracy(), model.get_layer("label_logits").get_weights()
    one = mm.with_views(model, 1)
    train(one, x.reshape(-1, 1, *SHAPE), np.repeat(labels, 3), 0.02, epochs=15)
    head = model.get_layer("label_logits").get_weights()
    assert all(np.any(old != new) for old, new in zip(before, head, strict=True))
    assert_same(predict(model, np.repeat(x[:, :1], 3, axis=1)), predict(one, x[:, :1]))
    first = accuracy()
    assert first > untrained + 0.1  # before it has seen a set of views
    before = model.get_weights()
    train(model, x, labels, 0.001, epochs=3)
    assert all(np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True))
    assert accuracy() >= first - 0.05


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"modalities": {"x": mm.Features(3)}}, ValueError, "at least one mm.Views.*'Features'"),
        ({"view_pooling": "maks"}, ValueError, "`view_pooling` must be one of .*'max'"),
        ({"pool_after": 3}, TypeError, "`pool_after` must be the name of a layer.*3"),
        ({"pool_after": "stage2_pol"}, ValueError, "must name a layer of.*Did you mean 'stage2_p"),
        ({"pool_after": "pixels"}, ValueError, "must name a layer of the backbone"),
        ({"pool_after": "stage1_out_conv"}, ValueError, "all of the graph passes through"),
        ({"saliency": 1}, TypeError, "`saliency` must be a bool"),
        (
            {"saliency": True, "num_classes": {"x_saliency": 2}},
            ValueError,
            r"`saliency` must be False where.*\['x_saliency'\]",
        ),
        ({"view_dropout": 1.0}, ValueError, "`view_dropout` must be .* below 1.0"),
        ({"view_dropout": "a"}, TypeError, "`view_dropout` must be a number"),
        ({"width": 0}, ValueError, "`width`"),
        ({"dropout": 1.0}, ValueError, "`dropout`"),
        ({"modality_dropout": -1}, ValueError, "`modality_dropout`"),
        ({"hidden": 3}, TypeError, "`hidden`"),
        ({"fusion": "conkat"}, ValueError, "`fusion` must be one of"),
        (
            {
                "modalities": {"x": views(backbone=Subclassed(name="sub"))},
                "pool_after": "one",
            },
            ValueError,
            "`pool_after` must be None for a backbone without a graph.*'sub'",
        ),
        (
            {
                "modalities": {"x": SMALL, "y": mm.Image(SHAPE, backbone="SmallCNN")},
                "share_backbone": True,
                "pool_after": "stage1_pool",
            },
            ValueError,
            "`pool_after` must be None where views share",
        ),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        mm.build_mvcnn(**{"modalities": {"x": SMALL}, "num_classes": 2, **options})


def test_a_layer_may_pool_the_views():
    pool = mm.layers.ViewPooling("logsumexp", sharpness=5.0, name="smooth")
    model = build(view_pooling=pool)
    assert model.get_layer("smooth").sharpness == 5.0
    assert np.abs(predict(model, pictures()) - predict(build(), pictures())).max() > 1e-4
