"""Shared backbones and encoders: one set of weights, in the graph, its gradient and its file."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm

IMAGE = mm.Image((8, 8, 1), backbone="SmallCNN", activation=None)
PAIR = {"left": IMAGE, "right": IMAGE}
SHARING = {"share_backbone": True, "share_encoder": True}


def build(modalities=PAIR, **options):
    return mm.build_mcnn(modalities, mm.Regression(2), width=4, **options)


def pictures(size=3):
    noise = np.random.default_rng(0)
    return {name: noise.uniform(0, 255, (size, 8, 8, 1)).astype("float32") for name in PAIR}


def backbones(model):
    return [layer for layer in model.layers if isinstance(layer, keras.Model)]


def own_model(name="mine"):
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3)(x)
    return keras.Model(inputs, keras.layers.BatchNormalization()(x), name=name)


@pytest.mark.parametrize("groups", [True, [("left", "right")], (["right", "left"],)])
@pytest.mark.parametrize("argument", SHARING)
def test_there_is_one_set_of_weights(argument, groups):
    shared, apart = build(**{argument: groups}), build()
    (backbone,) = backbones(shared)
    assert len(backbones(apart)) == 2
    assert len({id(w) for w in shared.weights}) == len(shared.weights)
    projections = [layer for layer in shared.layers if layer.name.endswith("projection")]
    assert len(projections) == (1 if argument == "share_encoder" else 2)
    saved = backbone.count_params()
    if argument == "share_encoder":
        saved += projections[0].count_params()
    assert shared.count_params() == apart.count_params() - saved


def test_groups_leave_the_others_alone():
    modalities = {"a": IMAGE, "b": IMAGE, "c": IMAGE, "d": IMAGE, "e": IMAGE}
    model = build(modalities, share_backbone=[("a", "b")], share_encoder=[("c", "d")])
    assert {layer.name for layer in backbones(model)} == {
        "a_b_backbone",
        "c_d_backbone",
        "e_backbone",
    }


def test_optional_or_not_makes_no_difference_to_sharing():
    modalities = {"left": IMAGE, "right": dataclasses.replace(IMAGE, optional=True)}
    assert len(backbones(build(modalities, share_encoder=True))) == 1


def test_modalities_of_two_kinds_share_a_backbone():
    modalities = {"still": IMAGE, "video": mm.Video(2, (8, 8, 1), backbone="SmallCNN")}
    (backbone,) = backbones(build(modalities, share_backbone=True))
    assert backbone.name == "still_video_backbone"


def test_encoders_without_a_backbone_are_shared_too():
    table = mm.Tabular(numeric=("n",), deep=(3,), normalize=False)
    for spec in (table, mm.Features(3), mm.Text(4, 9, backbone="BiGRU", embedding=4)):
        single = build({"left": spec}).count_params()
        shared = build({"left": spec, "right": spec}, share_encoder=True).count_params()
        assert shared == single + 4 * 2  # the head's further inputs


def copy_to_separate(shared, apart):
    """Copies the weights of a shared encoder to both of two separate ones."""
    for layer in apart.layers:
        for side in PAIR:
            if layer.name.startswith(f"{side}_") and layer.weights:
                suffix = layer.name.removeprefix(side)
                layer.set_weights(shared.get_layer(f"left_right{suffix}").get_weights())
    apart.get_layer("label_logits").set_weights(shared.get_layer("label_logits").get_weights())


def gradients(model, x):
    """Returns `{layer: gradients of its weights}`."""
    weights = {
        layer.name: [w.value for w in layer.trainable_weights]
        for layer in model.layers
        if layer.trainable_weights
    }
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x)["label"] ** 2)
    return keras.tree.map_structure(lambda gradient: gradient.numpy(), tape.gradient(loss, weights))


def test_gradient_is_the_sum_over_all_uses():
    shared, apart = build(share_encoder=True), build()
    copy_to_separate(shared, apart)
    x = pictures()
    np.testing.assert_allclose(shared(x)["label"], apart(x)["label"], atol=1e-5)
    one, two = gradients(shared, x), gradients(apart, x)
    for layer in ("backbone", "projection"):
        whole = one[f"left_right_{layer}"]
        parts = two[f"left_{layer}"], two[f"right_{layer}"]
        assert len(whole) == (18 if layer == "backbone" else 2)
        for together, left, right in zip(whole, *parts, strict=True):
            assert left.any()
            assert right.any()
            scale = np.abs(together).max()
            np.testing.assert_allclose(together, left + right, atol=1e-4 * scale)


@pytest.mark.parametrize("argument", SHARING)
def test_file_holds_the_shared_weights_once(argument, tmp_path):
    sizes = {}
    for name, model in {
        "single": build({"left": IMAGE}),
        "shared": build(**{argument: True}),
        "apart": build(),
    }.items():
        model.save(tmp_path / f"{name}.keras")
        sizes[name] = (tmp_path / f"{name}.keras").stat().st_size
    assert sizes["apart"] > sizes["single"] + 250_000
    assert sizes["shared"] < sizes["single"] + 20_000


@pytest.mark.parametrize("way", ["save", "clone", "inference"])
@pytest.mark.parametrize("argument", SHARING)
def test_sharing_survives(argument, way, tmp_path):
    model = build(**{argument: True}, auxiliary_heads=way == "inference")
    x = pictures()
    if way == "save":
        model.save(tmp_path / "m.keras")
        other = keras.models.load_model(tmp_path / "m.keras")
    elif way == "clone":
        other = keras.models.clone_model(model)
        other.set_weights(model.get_weights())
    else:
        other = mm.inference_model(model)
    np.testing.assert_allclose(other(x)["label"], model(x)["label"], atol=1e-6)
    assert other.count_params() == build(**{argument: True}).count_params()
    (backbone,) = backbones(other)
    changed = [1.1 * w for w in backbone.get_weights()]
    before = other(x)["label"].numpy()
    backbone.set_weights(changed)
    for side in PAIR:  # each side is still encoded by these weights
        blank = {**x, side: np.zeros_like(x[side])}
        assert np.abs(other(x)["label"].numpy() - other(blank)["label"]).max() > 1e-4
    assert np.abs(other(x)["label"].numpy() - before).max() > 1e-4


def test_one_model_in_two_specs_is_shared_without_asking():
    mine = own_model()
    spec = mm.Image((8, 8, 1), backbone=mine)
    for modalities in (
        {"left": spec, "right": spec},
        {"left": spec, "right": mm.Image((8, 8, 1), backbone=mine)},
    ):
        model = build(modalities)
        (backbone,) = backbones(model)
        assert backbone.name == "left_right_backbone"
        assert [id(w) for w in backbone.weights] == [id(w) for w in mine.weights]
    with pytest.raises(ValueError, match="`backbone` must group modalities with the same options"):
        build({"left": spec, "right": mm.Image((8, 8, 1), backbone=mine, trainable=False)})


def test_a_model_and_its_copy_are_not_shared():
    mine = own_model()
    specs = [mm.Image((8, 8, 1), backbone=m) for m in (mine, keras.models.clone_model(mine))]
    model = build(dict(zip(PAIR, specs, strict=True)))
    assert {layer.name for layer in backbones(model)} == {"left_backbone", "right_backbone"}


def test_one_model_may_be_grouped_whole():
    spec = mm.Image((8, 8, 1), backbone=own_model())
    for argument in SHARING:
        assert len(backbones(build({"left": spec, "right": spec}, **{argument: True}))) == 1


def test_training_moves_a_shared_backbone_and_keeps_it_one():
    model = build(share_backbone=True)
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    before = backbones(model)[0].get_weights()
    model.train_on_batch(pictures(), np.ones((3, 2)))
    after = backbones(model)[0].get_weights()
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
