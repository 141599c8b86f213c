"""Grad-CAM against closed forms, an independent gradient, and digits whose place is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.evaluate import grad_cam
from tests.evaluate import located
from tests.evaluate.mixed import INPUTS, MODALITIES, mixed_model

RNG = np.random.default_rng(0)


def by_hand():
    """Pixels → convolution → mean over positions → softmax: CAM and Grad-CAM are one."""
    x = inputs = keras.Input((6, 4, 2), name="pixels")
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="map")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="classes")(x))


@pytest.mark.parametrize("target", ["predicted", 2, "each"])
def test_with_a_linear_head_it_is_the_class_activation_map(target):
    model, x = by_hand(), RNG.normal(size=(5, 6, 4, 2)).astype("float32")
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    numbers = {"predicted": predicted, 2: np.full(5, 2), "each": np.array([0, 1, 2, 1, 0])}[target]
    found = grad_cam(
        model, x, "pixels", "output", numbers if target == "each" else target, batch_size=2
    )
    maps = keras.Model(model.input, model.get_layer("map").output).predict(x, verbose=0)
    weights = model.get_layer("classes").kernel.numpy()[:, numbers].T
    heat = np.maximum(np.einsum("bhwk,bk->bhw", maps, weights), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.heatmaps, heat / np.where(highest, highest, 1), atol=1e-5)
    np.testing.assert_array_equal(found.classes, numbers)
    assert found.layer == "map"


def test_logits_are_before_the_softmax():
    model, x = by_hand(), RNG.normal(size=(4, 6, 4, 2)).astype("float32")
    before = grad_cam(model, {"pixels": x}, "pixels", "output", 0)
    after = grad_cam(model, {"pixels": x}, "pixels", "output", 0, logits=False)
    with tf.GradientTape() as tape:
        maps = model.get_layer("map")(x)
        tape.watch(maps)
        total = tf.reduce_sum(model.layers[-1](model.layers[-2](maps))[:, 0])
    weights = tf.reduce_mean(tape.gradient(total, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    highest = heat.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(after.heatmaps, heat / np.where(highest, highest, 1), atol=1e-4)
    assert np.abs(before.heatmaps - after.heatmaps).max() > 0.01


def test_a_map_within_a_nested_backbone_of_keras_applications():
    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    x = inputs = keras.Input((32, 32, 3), name="photo")
    x = keras.layers.Flatten()(backbone(keras.layers.Rescaling(1 / 127.5, -1)(x)))
    model = keras.Model(inputs, {"label": keras.layers.Dense(3, name="label")(x)})
    photos = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    found = grad_cam(model, photos, "photo", target=1, layer="block_6_expand_relu")
    assert found.layer == f"{backbone.name}/block_6_expand_relu"
    both = [backbone.get_layer("block_6_expand_relu").output, backbone.output]
    with tf.GradientTape() as tape:
        maps, features = keras.Model(backbone.input, both)(photos / 127.5 - 1)
        total = tf.reduce_sum(model.get_layer("label")(tf.reshape(features, (2, -1)))[:, 1])
    weights = tf.reduce_mean(tape.gradient(total, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))[..., None]
    heat = tf.image.resize(heat, (32, 32))[..., 0].numpy()
    expected = heat / heat.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.heatmaps, expected, atol=1e-3)


def test_the_heat_lies_on_the_digit():
    inputs, labels, corners, halves = located.samples("test", 60, 2)
    found = grad_cam(located.model(), inputs, "image", target=labels, layer="stage2_relu")
    mass = located.mass_in_corners(found.heatmaps)
    for corner in np.ndindex(2, 2):  # a quarter would be chance
        own = (corners == corner).all(axis=1)
        assert mass[own, corner[0], corner[1]].mean() > 0.45, corner
    found = grad_cam(located.model(), inputs, "sound", target=labels)
    mass = located.mass_in_halves(found.heatmaps)
    for half in (0, 1):
        assert mass[halves == half, half].mean() > 0.58, half


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("image", (12, 8)),
        ("sound", (26, 16)),
        ("views", (3, 8, 8)),
        ("video", (4, 8, 8)),
    ],
)
def test_every_modality_of_pictures(name, shape):
    found = grad_cam(mixed_model(), INPUTS, name)
    assert found.heatmaps.shape == (5, *shape)
    assert found.heatmaps.min() == 0
    highest = found.heatmaps.reshape(5, -1).max(axis=1)
    present = INPUTS.get(f"{name}_present", np.ones((5, 1), "bool"))
    assert set(highest) == {0, 1} if not present.any(axis=1).all() else set(highest) <= {0, 1}
    assert not highest[~present.any(axis=1)].any()
    assert highest.sum() >= 2
    if name == "views":
        assert not found.heatmaps[~present].any(), "single views that are absent"
    noise = np.where(present.reshape(5, -1, *[1] * (INPUTS[name].ndim - 2)), INPUTS[name], np.nan)
    again = grad_cam(mixed_model(), {**INPUTS, name: noise}, name)
    np.testing.assert_array_equal(again.heatmaps, found.heatmaps)


def test_views_of_one_backbone_each_and_views_pooled_early():
    views = {"views": RNG.uniform(0, 255, (2, 3, 8, 8, 1))}
    apart = {"views": mm.Views(3, (8, 8, 1), backbone="SmallCNN", shared=False)}
    one_each = grad_cam(mm.build_mcnn(apart, 2), views, "views")
    assert one_each.layer == "views_views"
    assert one_each.heatmaps.shape == (2, 3, 8, 8)
    together = {"views": mm.Views(3, (8, 8, 1), backbone="SmallCNN")}
    model = mm.build_mvcnn(together, 2, pool_after="stage1_pool")
    early = grad_cam(model, views, "views")
    assert early.heatmaps.shape == (2, 3, 8, 8)
    assert early.layer == "views_unfold"
    assert grad_cam(model, views, "views", layer="views_activation").heatmaps.shape == (2, 8, 8)
    # What a view shows moves with the view.
    turned = grad_cam(model, {"views": views["views"][:, ::-1]}, "views")
    np.testing.assert_allclose(turned.heatmaps[:, ::-1], early.heatmaps, atol=1e-5)


def test_a_shared_backbone_is_explained_for_the_modality_that_is_asked_for():
    spec = mm.Image((8, 8, 1), backbone="SmallCNN")
    model = mm.build_mcnn({"left": spec, "right": spec}, 2, share_encoder=True)
    left, right = RNG.uniform(0, 255, (2, 3, 8, 8, 1))
    found = {n: grad_cam(model, {"left": left, "right": right}, n, target=0) for n in model.input}
    dark = grad_cam(model, {"left": left, "right": np.zeros_like(right)}, "left", target=0)
    assert found["left"].layer == found["right"].layer == "left_right_activation"
    assert np.abs(found["left"].heatmaps - found["right"].heatmaps).max() > 0.1
    np.testing.assert_allclose(dark.heatmaps, found["left"].heatmaps, atol=1e-5)  # a linear head


def test_heads_of_students_and_several_heads():
    specs = {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "sound": mm.Features(4)}
    inputs = {"image": RNG.uniform(0, 255, (3, 8, 8, 1)), "sound": RNG.normal(size=(3, 4))}
    students = mm.build_dml(specs, 3)
    assert grad_cam(students, inputs, "image", "image").heatmaps.any()
    with pytest.raises(ValueError, match="`modality` must be one of"):
        grad_cam(students, inputs, "image", "sound")  # that student sees no image
    heads = mm.build_mcnn(specs, {"digit": 3, "mark": mm.Regression(1)})
    mark = grad_cam(heads, inputs, "image", "mark")
    assert mark.classes.tolist() == [0, 0, 0]
    assert np.abs(grad_cam(heads, inputs, "image", "digit", 2).heatmaps - mark.heatmaps).max() > 0


def test_errors():
    names = ("image", "sound", "text")
    model = mm.build_mcnn({name: MODALITIES[name] for name in names}, 3, width=4)
    inputs = {name: INPUTS[name] for name in model.input}

    def call(**changed):
        return grad_cam(**{"model": model, "inputs": inputs, "modality": "image", **changed})

    for changed, message in (
        ({"modality": "imag"}, r"`modality` must be one of \[.*Did you mean 'image'\?"),
        ({"modality": "text"}, r"`modality` must lead to a feature map.*Received: modality='text'"),
        ({"head": "lable"}, r"`head` must be one of \['label'\]. Did you mean 'label'\?"),
        ({"target": 3}, "`target` must be classes from 0 to 2 of the head 'label'"),
        ({"target": -1}, "`target` must be classes from 0 to 2 of the head 'label'"),
        ({"target": "best"}, r"`target` must be one of \['predicted'\]"),
        ({"target": np.zeros(3, int)}, "`target` must be 'predicted', the number of a class, or"),
        ({"target": 0.5}, "`target` must be 'predicted', the number of a class, or"),
        ({"layer": "stage9"}, "`layer` must name a layer of the branch of 'image'.*stage9"),
        ({"layer": "sound_activation"}, "`layer` must name a layer of the branch of 'image'"),
        ({"inputs": {"image": inputs["image"]}}, "`inputs` must have every input of the model"),
        ({"inputs": inputs["image"]}, r"`inputs` must be a dict with \['image', "),
        ({"inputs": {**inputs, "text": inputs["text"][:2]}}, "`inputs` must have arrays of one"),
        ({"inputs": {n: x[:0] for n, x in inputs.items()}}, "`inputs` must have at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**changed)
    with pytest.raises(TypeError, match=r"`model` must be a functional keras\.Model"):
        call(model=keras.layers.Dense(2))
    with pytest.raises(TypeError, match="`logits` must be a bool"):
        call(logits=1)
