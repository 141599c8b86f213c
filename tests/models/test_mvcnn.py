"""Multi-view networks: what views, their order, number and absence do to the predictions."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.layers.view_pooling import VIEW_POOLINGS

SHAPE = (8, 8, 1)
SMALL = mm.Views(3, SHAPE, backbone="SmallCNN")


def cnn(name="mine"):
    """A CNN with a layer to pool after, and a residual branch after that."""
    x = inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, strides=2, name="one")(x)
    x = middle = keras.layers.BatchNormalization(name="middle")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="two")(x)
    return keras.Model(inputs, keras.layers.Add(name="join")([x, middle]), name=name)


def views(count=3, **options):
    return mm.Views(count, SHAPE, **{"backbone": cnn(), **options})


def build(spec=None, **options):
    """Returns a model whose biases and statistics are not those of a new one."""
    modalities = {"views": spec or views()}
    model = mm.build_mvcnn(modalities, mm.Regression(2), **{"width": 4, **options})
    return perturb(model)


def perturb(model):
    noise = np.random.default_rng(0)
    model.set_weights(
        [w + noise.uniform(0.1, 0.5, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    return model


def pictures(count=3, size=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 2, (size, count, *SHAPE)).astype("float32")


def predict(model, x, present=None):
    inputs = {"views": x} if present is None else {"views": x, "views_present": present}
    return np.asarray(model(inputs)["label"])


def assert_same(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


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


def test_two_stages_start_from_the_single_view_network():
    plain = mm.build_mcnn({"views": mm.Image(SHAPE, backbone=cnn())}, 2, width=4)
    plain.compile(keras.optimizers.SGD(0.1), mm.losses.classification())
    x, labels = pictures(), np.array([0, 1, 0, 1])
    plain.fit({"views": x.reshape(-1, *SHAPE)}, np.repeat(labels, 3), verbose=0)
    model = mm.build_mvcnn({"views": views()}, 2, width=4)
    model.set_weights(plain.get_weights())
    same = np.repeat(x[:, :1], 3, axis=1)
    assert_same(predict(model, same), plain({"views": x[:, 0]})["label"])
    model.compile(keras.optimizers.SGD(0.1), mm.losses.classification())
    before = model.get_weights()
    model.fit({"views": x}, labels, verbose=0)
    assert all(np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True))


PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], "bool")


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


@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_saliency(view_pooling):
    spec = views(optional_views=True)
    model = build(spec, view_pooling=view_pooling, saliency=True)
    x = pictures()
    plain = build(spec, view_pooling=view_pooling)  # with the same backbone
    plain.set_weights(model.get_weights())
    outputs = mm.inference_model(model)({"views": x, "views_present": PRESENT})
    assert sorted(outputs) == ["label", "views_saliency"]
    saliency = np.asarray(outputs["views_saliency"])
    assert saliency.dtype == "float32"
    assert not saliency[~PRESENT].any()
    np.testing.assert_allclose(saliency.sum(axis=1), PRESENT.any(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(predict(plain, x, PRESENT), outputs["label"])


def test_saliency_of_the_maximum_counts_the_features_that_a_view_wins():
    model, x = build(saliency=True), pictures(size=1)
    maps = np.asarray([model.get_layer("views_backbone")(x[:, view]) for view in range(3)])
    share = [(maps.argmax(axis=0) == view).mean() for view in range(3)]
    found = model({"views": x})["views_saliency"]
    np.testing.assert_allclose(found, [share], rtol=1e-5)
    assert min(share) > 0


def test_saliency_of_several_modalities_keeps_their_names():
    modalities = {"b": views(2), "a": views(3), "c": mm.Features(3)}
    model = mm.build_mvcnn(modalities, 2, width=4, saliency=True, auxiliary_heads=True)
    shapes = {name: output.shape[1:] for name, output in model.output.items()}
    expected = {"a_saliency": (3,), "b_saliency": (2,)}
    labels = dict.fromkeys(["label", "a_label", "b_label", "c_label"], (2,))
    assert shapes == expected | labels
    assert set(mm.inference_model(model).output) == {"label", *expected}


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


def test_views_and_another_modality_may_share_an_uncut_backbone():
    modalities = {"x": SMALL, "y": mm.Image(SHAPE, backbone="SmallCNN")}
    model = mm.build_mvcnn(modalities, 2, width=4, share_backbone=True)
    assert [m.name for m in model.layers if isinstance(m, keras.Model)] == ["x_y_backbone"]


def test_optional_views_must_be_a_bool():
    with pytest.raises(TypeError, match=r"`optional_views` must be a bool.*=1"):
        mm.Views(2, SHAPE, optional_views=1)


def test_a_layer_may_pool_the_views():
    pool = mm.layers.ViewPooling("logsumexp", sharpness=5.0, name="smooth")
    model = build(view_pooling=pool)
    assert model.get_layer("smooth").sharpness == 5.0
    assert np.abs(predict(model, pictures()) - predict(build(), pictures())).max() > 1e-4
