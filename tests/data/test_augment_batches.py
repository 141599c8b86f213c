"""`augment` on batches: the same changes, drawn for each sample, compiled where that pays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data.augmentation.affine import affine_transform
from mm_keras.data.augmentation.image import TOGETHER

RNG = np.random.default_rng(0)
COUNT = 10
PICTURE = RNG.integers(0, 256, (12, 10, 3)).astype("uint8")
WAVE = (0.2 * np.sin(np.arange(60))).astype("float32")
PRESENT = (np.arange(COUNT) % 3 > 0)[:, None]


def batches(size=4, count=COUNT, **inputs):
    """Batches of the same sample, the last of them smaller."""
    inputs = {name: np.stack([value] * count) for name, value in inputs.items()}
    return tf.data.Dataset.from_tensor_slices((inputs, np.arange(count))).batch(size)


def changed(augmentation, value, seed=0, **options):
    data = batches(x=value)
    after = mm.data.augment(data, {"x": augmentation}, seed=seed, **options)
    assert after.element_spec == data.element_spec
    parts = list(after)
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in parts]), range(COUNT))
    return np.concatenate([inputs["x"].numpy() for inputs, _ in parts])


LAYERS = {
    "RandomBrightness": keras.layers.RandomBrightness(0.3),
    "RandomColorDegeneration": keras.layers.RandomColorDegeneration(0.8),
    "RandomColorJitter": keras.layers.RandomColorJitter(brightness_factor=0.3, hue_factor=0.3),
    "RandomContrast": keras.layers.RandomContrast(0.4),
    "RandomErasing": keras.layers.RandomErasing(1.0),
    "RandomFlip": keras.layers.RandomFlip(),
    "RandomGrayscale": keras.layers.RandomGrayscale(0.5),
    "RandomHue": keras.layers.RandomHue(0.3),
    "RandomInvert": keras.layers.RandomInvert(0.5),
    "RandomPosterization": keras.layers.RandomPosterization(4),
    "RandomRotation": keras.layers.RandomRotation(0.2),
    "RandomSaturation": keras.layers.RandomSaturation((0.2, 0.8)),
    "RandomSharpness": keras.layers.RandomSharpness(0.5),
    "RandomShear": keras.layers.RandomShear(0.3, 0.3),
    "RandomTranslation": keras.layers.RandomTranslation(0.3, 0.3),
    "RandomZoom": keras.layers.RandomZoom(0.3),
    "Solarization": keras.layers.Solarization(0.3, 0.3),
}
STILL = {"AutoContrast": keras.layers.AutoContrast(), "Equalization": keras.layers.Equalization()}


def test_layers_done_together_draw_for_each_picture():
    assert {*LAYERS, *STILL} == set(TOGETHER)
    for name, layer in LAYERS.items():
        pictures = changed(layer, PICTURE).reshape(COUNT, -1)
        within = [len(np.unique(pictures[at : at + 4], axis=0)) for at in (0, 4, 8)]
        assert max(within) > 1, name  # with one draw for all of a batch, each would be alike
    for layer in STILL.values():
        expected = np.round(layer(PICTURE.astype("float32")).numpy())
        np.testing.assert_allclose(changed(layer, PICTURE)[3], expected, atol=1)


def test_others_take_one_picture_after_the_other():
    other = {"RandomCrop": keras.layers.RandomCrop(6, 5), "RandAugment": keras.layers.RandAugment()}
    for layer in (other["RandAugment"], mm.data.Sometimes(LAYERS["RandomBrightness"], 0.9)):
        assert len(np.unique(changed(layer, PICTURE).reshape(COUNT, -1), axis=0)) > 3
    data = mm.data.augment(batches(x=PICTURE), {"x": other["RandomCrop"]}, seed=0)
    crops = np.concatenate([inputs["x"] for inputs, _ in data])
    assert crops.shape[1:] == (6, 5, 3)
    assert len(np.unique(crops.reshape(COUNT, -1), axis=0)) > 3


def test_compiled_flips_and_brightness_are_what_they_say():
    flipped = changed(keras.layers.RandomFlip("horizontal"), PICTURE)
    mirrored = (flipped == PICTURE[:, ::-1]).all((1, 2, 3))
    assert 0 < mirrored.sum() < COUNT
    np.testing.assert_array_equal(flipped[~mirrored], np.stack([PICTURE] * (~mirrored).sum()))
    grey = np.full((6, 6, 3), 128, "uint8")
    lighter = changed(keras.layers.RandomBrightness(0.2), grey).astype(int) - 128
    assert (lighter == lighter[:, :1, :1, :1]).all()
    assert np.abs(lighter).max() <= 51
    assert lighter.std() > 10


def test_a_chain_is_rounded_once_and_in_order():
    chain = [
        keras.layers.RandomInvert((1.0, 1.0)),
        lambda value, seed: value // 2,  # sees whole numbers, though the layers compute fractions
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomInvert((1.0, 1.0)),
    ]
    expected = 255 - (255 - PICTURE) // 2
    for picture in changed(chain, PICTURE):
        assert (picture == expected).all() or (picture == expected[:, ::-1]).all()


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "wrap"])
def test_the_compiled_affine_transformation_is_that_of_keras(fill_mode):
    images = RNG.uniform(0, 255, (8, 9, 13, 3)).astype("float32")
    spread = np.array([0.5, 0.5, 8, 0.5, 0.5, 8, 0.01, 0.01])
    transform = np.array([1, 0, 0, 0, 1, 0, 0, 0]) + RNG.uniform(-1, 1, (8, 8)) * spread
    transform[0] = [1, 0, 0, 0, 1, -1, 0, 0]  # whole pixels
    transform = transform.astype("float32")
    expected = keras.ops.image.affine_transform(
        images, transform, fill_mode=fill_mode, fill_value=7.0
    )
    found = affine_transform(tf.constant(images), tf.constant(transform), fill_mode, 7.0)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_turning_is_that_of_keras_in_its_range(jit_compile):
    layer = keras.layers.RandomRotation((0.25, 0.25), fill_mode="constant")
    square = RNG.integers(0, 256, (8, 8, 3)).astype("uint8")
    turned = changed(layer, square, jit_compile=jit_compile)
    np.testing.assert_array_equal(turned, np.stack([np.rot90(square)] * COUNT))


def test_the_stream_depends_on_the_seed_and_not_on_the_parallelism():
    chain = [
        LAYERS["RandomRotation"],
        LAYERS["RandomContrast"],
        mm.data.Sometimes(lambda x, s: x // 2),
    ]
    one, four = (changed(chain, PICTURE, num_parallel_calls=n) for n in (1, 4))
    np.testing.assert_array_equal(one, four)
    assert (one != changed(chain, PICTURE, seed=1)).any()
    made = mm.data.augment(batches(x=PICTURE), {"x": chain}, seed=0)
    first, second = (np.concatenate([inputs["x"] for inputs, _ in made]) for _ in range(2))
    np.testing.assert_array_equal(first, one)
    assert (first != second).any()


def test_sounds_have_draws_of_their_own():
    shifted = changed(mm.data.TimeShift(0.5), np.arange(1, 31, dtype="float32"))
    starts = {int(row[row > 0][0]) - int(np.flatnonzero(row)[0]) for row in shifted}
    assert len(starts) > 5
    noisy = changed(mm.data.AddNoise(7, 7), WAVE)
    power = ((noisy - WAVE) ** 2).mean(axis=1)
    np.testing.assert_allclose(10 * np.log10((WAVE**2).mean() / power), 7, atol=1e-3)
    for step in (mm.data.AddNoise(), mm.data.AddNoise(noise=RNG.normal(size=99))):
        assert len(np.unique(changed(step, WAVE), axis=0)) == COUNT
    gains = changed(mm.data.RandomGain(-6, 0), WAVE)[:, 5] / WAVE[5]
    assert len(np.unique(gains.round(4))) == COUNT
    masked = changed(mm.data.TimeMask(0.5), np.ones(40, "float32")) == 0
    assert len({tuple(row) for row in masked}) > 5


def test_presence_shared_draws_and_the_draws_of_others():
    inputs = {
        "left": np.stack([PICTURE] * COUNT),
        "right": np.stack([PICTURE] * COUNT),
        "right_present": PRESENT,
        "sound": np.stack([WAVE] * COUNT),
    }
    data = tf.data.Dataset.from_tensor_slices((inputs, np.arange(COUNT))).batch(5)

    def run(steps):
        parts = list(mm.data.augment(data, steps, seed=3))
        return {name: np.concatenate([part[0][name] for part in parts]) for name in inputs}

    flip = keras.layers.RandomFlip()
    shared = run({("left", "right"): flip, "sound": mm.data.AddNoise()})
    there = PRESENT[:, 0]
    np.testing.assert_array_equal(shared["left"][there], shared["right"][there])
    assert not shared["right"][~there].any()
    np.testing.assert_array_equal(shared["right_present"], PRESENT)
    apart = run({"left": flip, "right": flip})
    assert (apart["left"][there] != apart["right"][there]).any()
    np.testing.assert_array_equal(run({"sound": mm.data.AddNoise()})["sound"], shared["sound"])


def test_views_are_dropped_with_their_presence():
    views = np.ones((COUNT, 3, 2, 2, 1), "float32")
    inputs = {"x": views, "x_present": np.ones((COUNT, 3), "bool")}
    data = tf.data.Dataset.from_tensor_slices((inputs, np.arange(COUNT))).batch(4)
    parts = list(mm.data.augment(data, {"x": mm.data.ViewMask(0.6)}, seed=0))
    there = np.concatenate([part[0]["x_present"] for part in parts])
    np.testing.assert_array_equal(np.concatenate([p[0]["x"] for p in parts]).any((2, 3, 4)), there)
    assert len({tuple(row) for row in there}) > 2


def test_jit_compile_must_be_a_bool():
    with pytest.raises(TypeError, match="`jit_compile` must be a bool"):
        mm.data.augment(batches(x=PICTURE), {"x": LAYERS["RandomFlip"]}, jit_compile="auto")
