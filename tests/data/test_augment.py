"""`augment`: seeds, order, presence, structure."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import augment

RNG = np.random.default_rng(0)
COUNT = 12
IMAGES = RNG.integers(0, 256, (COUNT, 12, 12, 3)).astype("uint8")
WAVES = RNG.uniform(-0.5, 0.5, (COUNT, 50)).astype("float32")
PRESENT = (np.arange(COUNT) % 3 > 0)[:, None]


def samples(**more):
    inputs = {"image": IMAGES, "audio": WAVES * PRESENT, "audio_present": PRESENT, **more}
    return tf.data.Dataset.from_tensor_slices((inputs, np.arange(COUNT), np.ones(COUNT)))


def all_of(dataset, name="image"):
    return np.stack([element[0][name].numpy() for element in dataset])


STEPS = {
    "image": [keras.layers.RandomFlip(), keras.layers.RandomBrightness(0.3)],
    "audio": [mm.data.TimeShift(0.3), mm.data.AddNoise(5, 10)],
}


def test_the_stream_depends_on_the_seed_and_not_on_the_parallelism():
    one, four = (augment(samples(), STEPS, seed=3, num_parallel_calls=n) for n in (1, 4))
    other = augment(samples(), STEPS, seed=4, num_parallel_calls=4)
    for name in ("image", "audio"):
        first = all_of(one, name)
        np.testing.assert_array_equal(first, all_of(four, name))
        assert (first != all_of(other, name)).any()
    assert (all_of(augment(samples(), STEPS)) != all_of(augment(samples(), STEPS))).any()


def test_each_epoch_has_draws_of_its_own_which_come_again_in_the_next_run():
    one, again = augment(samples(), STEPS, seed=3), augment(samples(), STEPS, seed=3)
    first, second = all_of(one), all_of(one)
    assert (first != second).any()
    np.testing.assert_array_equal(all_of(again.repeat(2)), np.concatenate([first, second]))
    fixed = augment(samples(), STEPS, seed=3, each_epoch=False)
    np.testing.assert_array_equal(all_of(fixed), all_of(fixed))


def test_samples_have_draws_of_their_own():
    same = tf.data.Dataset.from_tensors(({"audio": tf.ones(50) / 4}, 0)).repeat(8)
    noisy = all_of(augment(same, {"audio": mm.data.AddNoise()}, seed=0), "audio")
    assert len(np.unique(noisy, axis=0)) == 8


def test_a_modality_more_leaves_the_draws_of_the_others():
    alone = augment(samples(), {"audio": STEPS["audio"]}, seed=3)
    np.testing.assert_array_equal(
        all_of(alone, "audio"), all_of(augment(samples(), STEPS, seed=3), "audio")
    )
    np.testing.assert_array_equal(all_of(alone), IMAGES)


def test_structure_order_and_dtypes_stay():
    before, after = samples(), augment(samples(), STEPS, seed=3)
    assert after.element_spec == before.element_spec
    assert after.cardinality() == COUNT
    assert [int(element[1]) for element in after] == list(range(COUNT))


def test_absent_samples_stay_zero_and_absent():
    loud = {"audio": lambda value, seed: value + 1.0}
    after = augment(samples(), loud, seed=0)
    np.testing.assert_array_equal(all_of(after, "audio_present"), PRESENT)
    np.testing.assert_allclose(all_of(after, "audio"), (WAVES + 1) * PRESENT, rtol=1e-6)


def test_a_tuple_of_names_shares_its_draws():
    data, flip = samples(other=IMAGES), keras.layers.RandomFlip()
    for steps, alike in (
        ({("image", "other"): flip}, True),
        ({"image": flip, "other": flip}, False),
    ):
        pictures = [augment(data, steps, seed=0, each_epoch=False)] * 2
        image, other = map(all_of, pictures, ("image", "other"))
        assert (image == other).all() == alike
        assert (image != IMAGES).any()


def test_functions_get_a_seed():
    def noise(value, seed):
        return value + tf.random.stateless_normal(tf.shape(value), seed)

    one = all_of(augment(samples(), {"audio": noise}, seed=0), "audio")
    np.testing.assert_array_equal(
        one, all_of(augment(samples(), {"audio": noise}, seed=0, num_parallel_calls=4), "audio")
    )


def test_fit_sees_other_samples_in_each_epoch():
    model = mm.build_mcnn({"audio": mm.Features(50, optional=True), "image": mm.Features(2)}, 3)
    seen = []
    model.compile("sgd", mm.losses.classification(), jit_compile=False)

    def spy(value, seed):
        tf.py_function(lambda s: seen.append(tuple(s.numpy())), [seed], [])
        return value

    data = samples(image=np.zeros((COUNT, 2), "float32")).map(lambda x, y, w: (x, y % 3, w))
    model.fit(augment(data, {"audio": spy}, seed=0).batch(4), epochs=2, verbose=0)
    assert len(seen) == len(set(seen)) == 2 * COUNT


@pytest.mark.parametrize(
    ("augmentations", "error", "message"),
    [
        ([], TypeError, r"`augmentations` must be \{name: augmentation\}"),
        ({"sound": mm.data.TimeShift()}, ValueError, r"`augmentations` must be one of"),
        ({"image": 3}, TypeError, r"must be mm\.data augmentations, layers.*Received: 3"),
        ({"image": mm.data.TimeShift}, TypeError, r"must be mm\.data augmentations"),
        ({"image": mm.data.TimeShift()}, ValueError, r"waveforms.*\(12, 12, 3\)"),
        ({"audio": mm.data.TokenSwap()}, ValueError, r"token ids.*float32"),
        ({"audio": keras.layers.RandomFlip()}, ValueError, r"single pictures.*AllFrames"),
        ({"image": keras.layers.MixUp()}, ValueError, r"leave the others alone: use mm\.data\.mix"),
        ({"image": keras.layers.AugMix()}, ValueError, r"AugMix.*use mm\.data\.SomeOf"),
        ({"image": keras.layers.Dense(2)}, TypeError, r"layers of keras\.layers that augment"),
        (
            {"image": keras.layers.RandomFlip(), ("image", "audio"): []},
            ValueError,
            r"each modality once. Received twice: \['image'\]",
        ),
    ],
)
def test_errors(augmentations, error, message):
    with pytest.raises(error, match=message):
        augment(samples(), augmentations, seed=0)


def test_other_elements_are_refused():
    with pytest.raises(ValueError, match=r"must give \(\{name: array\}, labels\)"):
        augment(samples().map(lambda x, y, w: x), STEPS)
    with pytest.raises(TypeError, match="`dataset` must be a"):
        augment([1, 2], STEPS)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        augment(samples(), STEPS, seed=0.5)
    with pytest.raises(TypeError, match="`each_epoch` must be a bool"):
        augment(samples(), STEPS, each_epoch="yes")
