"""Every augmentation does what it says, and nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import (
    AddNoise,
    AllFrames,
    ColumnDropout,
    EachView,
    RandomGain,
    SomeOf,
    Sometimes,
    SpecAugment,
    TabularNoise,
    TimeMask,
    TimeShift,
    TokenDropout,
    TokenSwap,
    ViewMask,
    ViewShuffle,
)

RNG = np.random.default_rng(0)


def many(augmentation, value, count=200, present=None):
    """Returns what `augment` makes of one value, many times, and what is present of it."""
    inputs = {"x": value} if present is None else {"x": value, "x_present": present}
    data = tf.data.Dataset.from_tensors((inputs, 0)).repeat(count)
    batch = next(iter(mm.data.augment(data, {"x": augmentation}, seed=0).batch(count)))[0]
    assert batch["x"].dtype == value.dtype
    return batch["x"].numpy(), batch["x_present"].numpy() if present is not None else None


def test_time_shift_moves_and_fills_with_silence():
    wave = np.arange(1, 21, dtype="float32")
    shifts = set()
    for moved in many(TimeShift(0.25), wave)[0]:
        at = np.flatnonzero(moved)
        shift = int(at[0] - (moved[at[0]] - 1))
        shifts.add(shift)
        expected = np.zeros(20)
        expected[max(shift, 0) : 20 + min(shift, 0)] = wave[max(-shift, 0) : 20 - max(shift, 0)]
        np.testing.assert_array_equal(moved, expected)
    assert shifts == set(range(-5, 6))


def test_time_shift_wraps():
    wave = np.arange(1, 21, dtype="float32")
    for moved in many(TimeShift(0.25, wrap=True), wave, 20)[0]:
        np.testing.assert_array_equal(np.roll(moved, int(moved[0]) - 1), wave)


def test_gain_is_in_its_range_and_never_clips():
    wave = RNG.uniform(-0.6, 0.6, 50).astype("float32")
    louder = many(RandomGain(-6, 6), wave)[0]
    ratio = louder / wave
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(50), rtol=1e-4)
    db = 20 * np.log10(ratio[:, 0])
    assert db.min() < -5
    assert db.min() >= -6.001
    assert np.abs(louder).max() <= 1.0
    beyond = np.array([2.0, -1.0], "float32")  # is left as loud as it is
    np.testing.assert_allclose(np.abs(many(RandomGain(3, 3), beyond, 2)[0]).max(), 2.0, rtol=1e-6)


@pytest.mark.parametrize("noise", [None, RNG.normal(size=37)], ids=["white", "recorded"])
def test_noise_has_the_ratio(noise):
    wave = (0.1 * np.sin(np.arange(400))).astype("float32")
    noisy = many(AddNoise(7, 7, noise), wave, 20)[0]
    power = ((noisy - wave) ** 2).mean(axis=1)
    np.testing.assert_allclose(10 * np.log10((wave**2).mean() / power), 7, atol=1e-3)
    assert len(np.unique(noisy[:, 0])) > 5
    drawn = many(AddNoise(0, 20, noise), wave)[0]
    snr = 10 * np.log10((wave**2).mean() / ((drawn - wave) ** 2).mean(axis=1))
    assert snr.min() >= -0.01
    assert snr.max() <= 20.01
    assert snr.std() > 4


def test_noise_keeps_the_range_and_silence():
    loud = np.sign(np.sin(np.arange(400.0))).astype("float32")
    noisy = many(AddNoise(0, 0), loud, 5)[0]
    np.testing.assert_allclose(np.abs(noisy).max(axis=1), 1.0, rtol=1e-5)
    assert not many(AddNoise(0, 0), np.zeros(40, "float32"), 5)[0].any()


def test_time_mask_silences_a_stretch():
    masked = many(TimeMask(0.3), np.ones(20, "float32"))[0] == 0
    lengths = masked.sum(axis=1)
    assert set(lengths) == set(range(7))
    assert all(np.abs(np.diff(row.astype(int))).sum() <= 2 for row in masked)
    assert (many(TimeMask(0.1, masks=3), np.ones(20, "float32"))[0] == 0).sum(1).max() > 2


@pytest.mark.parametrize(
    ("shape", "time_axis"), [((8, 10, 1), 1), ((10, 8), 0)], ids=["picture", "features"]
)
def test_spec_augment_masks_times_and_frequencies(shape, time_axis):
    value = RNG.uniform(1, 2, shape).astype("float32")
    for times, bands in ((True, False), (False, True)):
        step = SpecAugment(0.3, 0.5, int(times), int(bands), fill=0.0)
        masked = many(step, value)[0].reshape(-1, *shape[:2]) == 0
        axis = 1 - time_axis if times else time_axis
        along = masked.all(axis=1 + axis)  # whole rows or columns
        np.testing.assert_array_equal(masked.any(axis=1 + axis), along)
        assert along.sum(axis=1).max() == (3 if times else 4)
    np.testing.assert_allclose(
        np.setdiff1d(many(SpecAugment(), value, 50)[0], value), value.mean(), rtol=1e-5
    )


def test_token_dropout_moves_up_and_keeps_one():
    ids = np.array([5, 6, 7, 8, 0, 0], "int32")
    dropped = many(TokenDropout(0.5), ids, 400)[0]
    for row in dropped:
        kept = row[row != 0]
        assert not row[len(kept) :].any()
        assert list(kept) == [token for token in ids if token in kept]
    counts = (dropped != 0).sum(axis=1)
    assert counts.min() == 1
    assert abs(counts.mean() - (2 + 0.5**4)) < 0.15
    assert not many(TokenDropout(0.5), np.zeros(4, "int32"), 3)[0].any()


def test_token_dropout_to_unknown():
    ids = np.array([5, 6, 7, 8, 0, 0], "int32")
    dropped = many(TokenDropout(0.5, to_unknown=True), ids)[0]
    assert ((dropped == ids) | ((dropped == 1) & (ids != 0))).all()
    assert (dropped == 1).any()
    assert (dropped[:, :4] != 1).any(axis=1).all()


def test_token_swap_keeps_the_tokens():
    ids = np.array([5, 6, 7, 8, 0, 0], "int32")
    swapped = many(TokenSwap(1), ids)[0]
    np.testing.assert_array_equal(np.sort(swapped[:, :4], axis=1), np.tile(ids[:4], (200, 1)))
    assert set((swapped != ids).sum(axis=1)) == {0, 2}
    assert (many(TokenSwap(3), ids)[0] != ids).sum(axis=1).max() > 2
    assert not many(TokenSwap(2), np.zeros(4, "int32"), 3)[0].any()


COLUMNS = {
    "age": [20.0, 40.0],
    "size": [1.0, 1.2],
    "city": ["Rome", "Oslo"],
    "job": ["a", "b"],
}
TABLE = mm.Tabular(
    numeric=("age", "size"), categorical={"city": None, "job": None}, wide=(("city", "job"),)
).adapt(COLUMNS)
ROW = TABLE.encode(COLUMNS)[0]


def test_tabular_noise_is_on_each_columns_scale():
    noisy = many(TabularNoise(TABLE, 0.5), ROW, 2000)[0]
    np.testing.assert_array_equal(noisy[:, 2:], np.tile(ROW[2:], (2000, 1)))
    np.testing.assert_allclose(noisy[:, :2].std(axis=0), 0.5 * np.sqrt(TABLE.variance), rtol=0.06)


def test_column_dropout_makes_unknown():
    dropped = many(ColumnDropout(TABLE, 0.3), ROW, 2000)[0]
    unknown = np.array([30.0, 1.1, 0, 0, 0], "float32")
    gone = dropped != ROW
    np.testing.assert_allclose(np.where(gone, unknown, ROW), dropped, rtol=1e-6)
    np.testing.assert_allclose(gone[:, :4].mean(axis=0), 0.3, atol=0.04)
    np.testing.assert_array_equal(dropped[:, 4] == 0, gone[:, 2] | gone[:, 3])


FRAMES = RNG.integers(0, 256, (1, 8, 8, 3)).repeat(5, axis=0).astype("uint8")


def test_all_frames_share_a_draw_and_views_have_their_own():
    layer = keras.layers.RandomTranslation(0.3, 0.3)
    video = many(AllFrames(layer), FRAMES, 10)[0]
    assert (video == video[:, :1]).all()
    assert (video[:, 0] != FRAMES[0]).any()
    assert len(np.unique(video.reshape(10, -1), axis=0)) > 5
    views = many(EachView(layer), FRAMES, 10)[0]
    assert (views != views[:, :1]).any(axis=(2, 3, 4)).mean() > 0.5


VIEWS = np.arange(1, 5, dtype="float32").reshape(4, 1, 1, 1) * np.ones((4, 2, 2, 1), "float32")


def test_view_shuffle_takes_presence_along():
    present = np.array([True, True, False, True])
    views, there = many(ViewShuffle(), VIEWS * present[:, None, None, None], present=present)
    np.testing.assert_array_equal(np.sort(views[:, :, 0, 0, 0]), np.tile([0, 1, 2, 4], (200, 1)))
    np.testing.assert_array_equal(there, views[:, :, 0, 0, 0] != 0)
    assert len(np.unique(views[:, :, 0, 0, 0], axis=0)) == 24
    whole = many(ViewShuffle(), VIEWS, present=np.array([False]))
    assert not whole[0].any()
    assert not whole[1].any()


def test_view_dropout_keeps_a_view_that_was_there():
    present = np.array([True, True, False, True])
    views, there = many(ViewMask(0.6), VIEWS * present[:, None, None, None], 500, present)
    np.testing.assert_array_equal(there, views[:, :, 0, 0, 0] != 0)
    assert not there[:, 2].any()
    assert there.any(axis=1).all()
    share = 0.4 + 0.6**3 / 3  # or it is the last one, each as likely
    np.testing.assert_allclose(there[:, [0, 1, 3]].mean(axis=0), share, atol=0.07)
    nothing = many(ViewMask(0.6), 0 * VIEWS, 5, np.zeros(4, "bool"))
    assert not nothing[1].any()


def test_some_of_draws_as_often_and_as_many():
    steps = [lambda value, seed, k=k: value + 10.0**k for k in range(3)]
    added = many(SomeOf(steps, count=2), np.zeros((), "float32"), 900)[0]
    values, counts = np.unique(added, return_counts=True)
    assert set(values) == {2, 11, 20, 101, 110, 200}
    np.testing.assert_allclose(counts / 900, [1 / 9, 2 / 9, 1 / 9, 2 / 9, 2 / 9, 1 / 9], atol=0.04)


def test_some_of_keras_layers_and_of_views():
    layers = [keras.layers.RandomFlip(), keras.layers.RandomContrast(0.5)]
    assert (many(SomeOf(layers, 2), FRAMES[0], 5)[0] != FRAMES[0]).any()
    _, there = many(SomeOf([ViewMask(0.9), ViewShuffle()]), VIEWS, present=np.ones(4, "bool"))
    assert 0.2 < (there.sum(axis=1) < 4).mean() < 0.8


def test_sometimes_leaves_the_others_alone():
    changed = many(Sometimes(lambda value, seed: value + 1, 0.3), np.zeros(2, "float32"), 500)[0]
    assert abs(changed[:, 0].mean() - 0.3) < 0.07
    _, there = many(Sometimes(ViewMask(0.9), 0.5), VIEWS, present=np.ones(4, "bool"))
    assert 0.3 < (there.sum(axis=1) == 4).mean() < 0.7


LAYERS = {
    "RandAugment": keras.layers.RandAugment(),
    "RandomColorJitter": keras.layers.RandomColorJitter(
        brightness_factor=0.2, contrast_factor=0.2, saturation_factor=0.2, hue_factor=0.2
    ),
    "RandomContrast": keras.layers.RandomContrast(0.3),
    "RandomCrop": keras.layers.RandomCrop(8, 8),
    "RandomErasing": keras.layers.RandomErasing(),
    "RandomHue": keras.layers.RandomHue(0.2),
    "RandomRotation": keras.layers.RandomRotation(0.1),
    "RandomShear": keras.layers.RandomShear(0.2, 0.3),
    "RandomZoom": keras.layers.RandomZoom(0.3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_keras_draw_for_each_sample(name):
    pictures = RNG.integers(0, 256, (8, 12, 12, 3)).astype("uint8")
    data = tf.data.Dataset.from_tensor_slices(({"x": pictures}, np.arange(8)))

    def run(parallel, seed=0):
        made = mm.data.augment(data, {"x": LAYERS[name]}, seed=seed, num_parallel_calls=parallel)
        return np.stack([element[0]["x"].numpy() for element in made])

    one = run(1)
    assert one.dtype == "uint8"
    np.testing.assert_array_equal(one, run(4))
    assert (one != run(1, seed=1)).any()


def test_the_users_layer_is_left_alone():
    layer = keras.layers.RandomFlip(seed=1)
    twin = keras.layers.RandomFlip(seed=1)
    many(layer, FRAMES[0], 3)
    np.testing.assert_array_equal(layer(FRAMES, training=True), twin(FRAMES, training=True))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TimeShift(1.5), ValueError, "`max_share` must be at most 1"),
        (lambda: TimeMask(0.1, 0), ValueError, "`masks` must be an integer of at least 1"),
        (lambda: RandomGain(3, -3), ValueError, "`min_db` must be at most `max_db`"),
        (lambda: AddNoise(5, float("inf")), ValueError, "`max_snr_db`"),
        (lambda: AddNoise(noise=[[1.0]]), ValueError, r"`noise` must be a waveform \(n,\)"),
        (lambda: SpecAugment(max_time=-1), ValueError, "`max_time` must be at least 0"),
        (lambda: TokenDropout(1.0), ValueError, "`rate` must be at least 0.0 and below 1.0"),
        (lambda: TokenSwap(0), ValueError, "`swaps`"),
        (lambda: TabularNoise(3), TypeError, "`spec` must be a mm.Tabular"),
        (
            lambda: TabularNoise(mm.Tabular(numeric=("age",))),
            ValueError,
            "call `spec = spec.adapt",
        ),
        (lambda: ViewMask(-0.1), ValueError, "`rate`"),
        (lambda: SomeOf([]), ValueError, "`augmentations` must have at least one"),
        (lambda: SomeOf(TimeShift()), TypeError, "must be a sequence of augmentations"),
        (lambda: Sometimes(TimeShift(), 2), ValueError, "`rate` must be at most 1"),
        (lambda: many(ViewMask(), VIEWS, 1), ValueError, "'x_present' of shape"),
        (
            lambda: many(TabularNoise(TABLE), ROW[:3], 1),
            ValueError,
            "as many columns as the rows of 'x', 3",
        ),
        (lambda: many(AllFrames(TimeShift()), FRAMES, 1), ValueError, "waveforms"),
        (lambda: many(Sometimes(TimeShift()), FRAMES, 1), ValueError, "waveforms"),
        (lambda: many(SomeOf([TimeShift()]), FRAMES, 1), ValueError, "waveforms"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
