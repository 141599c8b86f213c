"""`rematerialize=True`: the same training with fewer activations kept, and the graph as ever."""

import itertools

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.compress.bridge import to_tf_keras
from mm_keras.encoders import small_cnn
from mm_keras.layers import Rematerialized
from mm_keras.layers.rematerialized import best_cuts

PICTURES = np.random.default_rng(0).uniform(0, 255, (12, 32, 32, 3)).astype("float32")
LABELS = np.arange(12) % 3


class RunCounter(keras.layers.Layer):
    """Counts how often it runs on data."""

    runs = 0

    def call(self, x):
        if not isinstance(x, keras.KerasTensor):
            RunCounter.runs += 1
        return 2.0 * x


def backbone(**options):
    """Convolutions with something counted between them."""
    x = inputs = keras.Input((32, 32, 3))
    for stage in range(4):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{stage}", **options)(x)
        x = RunCounter(name=f"counting{stage}")(x)
    return keras.Model(inputs, x, name="mine")


def trained(rematerialize, picture, policy="float32", **options):
    """Returns the history and the weights, seeds and statistics included, after a few steps."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        specs = {
            key: mm.Image((32, 32, 3), weights=None, rematerialize=rematerialize, **picture)
            for key in ("left", "right")
        }
        model = mm.build_mcnn(specs, 3, width=4, **options)
    finally:
        keras.config.set_dtype_policy(before)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    inputs = {"left": PICTURES, "right": PICTURES[::-1].copy()}
    history = model.fit(inputs, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model, history.history["loss"], [v.numpy() for v in model.variables]


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        ({"backbone": "SmallCNN", "stochastic_depth": 0.3}, {}),
        ({"backbone": "SmallCNN"}, {"share_encoder": True}),
        ({"backbone": "SmallCNN", "l2": 0.01}, {"policy": "mixed_float16"}),
        ({"backbone": "SmallCNN", "trainable": 4}, {}),
    ],
    ids=["dropped branches", "shared", "float16", "partly frozen"],
)
def test_training_is_the_same(picture, options):
    model, losses, variables = trained(True, picture, **options)
    assert any(isinstance(layer, Rematerialized) for layer in model.layers)
    _, expected_losses, expected = trained(False, picture, **options)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for one, other in zip(variables, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_activations_are_computed_again_in_training_alone():
    model = mm.build_mcnn({"a": mm.Image((32, 32, 3), backbone=backbone(), rematerialize=True)}, 3)
    nested = model.get_layer("a_backbone")
    parts = [[call.op.name for call in part.calls] for part in nested._parts.all]
    assert len(parts) > 1
    assert list(itertools.chain(*parts)) == [layer.name for layer in nested.layers[1:]]
    RunCounter.runs = 0
    model(PICTURES[:2], training=False)
    assert RunCounter.runs == 4
    model.compile("sgd", mm.losses.classification(), run_eagerly=True)
    model.train_on_batch({"a": PICTURES[:2]}, LABELS[:2])
    assert RunCounter.runs == 4 + 8


def test_cuts_leave_the_smallest_peak():
    assert best_cuts([4, 4, 4, 4], [1, 2, 3]) == [2]  # 4 kept and parts of 8: 12 rather than 16
    assert best_cuts([9] * 9, range(1, 9)) == [3, 6]  # 18 and parts of 27
    assert best_cuts([1, 8, 1, 8, 1, 8], [1, 3, 5]) == [3, 5]  # never after the large ones
    assert best_cuts([5, 5], []) == []
    sizes = [int(size) for size in np.random.default_rng(1).integers(1, 50, 40)]
    cuts = best_cuts(sizes, range(1, 40))
    edges = [0, *cuts, 40]
    peak = max(sum(sizes[a:b]) for a, b in itertools.pairwise(edges))
    assert peak + sum(sizes[cut - 1] for cut in cuts) < 0.5 * sum(sizes)


def test_a_residual_connection_is_not_cut():
    cnn = small_cnn((16, 16, 3), "cnn")
    nested = Rematerialized(cnn.input, cnn.output)
    firsts = [part.calls[0].op.name for part in nested._parts.all]
    inside = [f"stage{n}_{part}" for n in (1, 2, 3) for part in ("out_norm", "add")]
    assert len(firsts) > 2
    assert not set(firsts) & set(inside)


@pytest.mark.slow
def test_files_clones_and_the_bridge_take_it(tmp_path):
    picture = mm.Image((32, 32, 3), backbone="SmallCNN", rematerialize=True)
    video = mm.Video(2, (32, 32, 3), backbone="SmallCNN", rematerialize=True)
    model = mm.build_mcnn({"picture": picture, "video": video}, 3, width=4)
    inputs = {"picture": PICTURES[:4], "video": np.stack([PICTURES[:4]] * 2, 1)}
    expected = model.predict(inputs, verbose=0)["label"]
    mm.export(model, tmp_path / "model.keras", format="keras")
    mm.export(model, tmp_path / "model.tflite", format="litert")
    for name in ("model.keras", "model.tflite"):
        got = mm.load(tmp_path / name).predict(inputs)["label"]
        np.testing.assert_allclose(got, expected, atol=1e-5)
    model.save(tmp_path / "training.keras")
    loaded = keras.saving.load_model(tmp_path / "training.keras")
    for copy in (loaded, keras.models.clone_model(model)):
        nested = copy.get_layer("video_backbone")
        assert isinstance(nested, Rematerialized)
        assert len(nested._parts.all) > 1
    assert to_tf_keras(model).difference < 1e-5


def test_views_are_pooled_between_two_halves_that_are_both_rematerialized():
    views = mm.Views(3, (32, 32, 3), backbone="SmallCNN", rematerialize=True)
    model = mm.build_mvcnn({"views": views}, 3, pool_after="stage2_relu")
    halves = [model.get_layer("views_backbone"), model.get_layer("views_backbone_tail")]
    assert all(isinstance(half, Rematerialized) for half in halves)
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    model.train_on_batch({"views": np.stack([PICTURES[:2]] * 3, 1)}, LABELS[:2])


def test_a_backbone_is_not_shared_with_one_that_keeps_its_activations():
    specs = {
        key: mm.Image((8, 8, 1), backbone="SmallCNN", rematerialize=key == "a") for key in "ab"
    }
    with pytest.raises(ValueError, match="`share_backbone` must"):
        mm.build_mcnn(specs, 3, share_backbone=True)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def two_inputs():
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Subclassed, "`rematerialize` must be False for a backbone that is no functional"),
        (two_inputs, "one input and one output to be rematerialized. .* 2 inputs"),
        (
            lambda: backbone(activity_regularizer="l2"),
            "no activity_regularizer to be rematerialized.* 'conv0'",
        ),
    ],
)
def test_backbones_that_cannot_be_cut(make, message):
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn({"a": mm.Image((32, 32, 3), backbone=make(), rematerialize=True)}, 3)
