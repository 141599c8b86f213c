"""The embedded audio-visual digits: what is stored, how it is split, and the noise added."""

import importlib.resources
import logging
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from mm_keras.datasets import AvDigits, av_digits
from mm_keras.datasets.av_digits.av_digits import CLIPS_PER_IMAGE, NUM_IMAGES, NUM_VOICES, SPLITS
from mm_keras.datasets.av_digits.load import AUDIO_SNR_DB, IMAGE_NOISE, babblers
from mm_keras.datasets.av_digits.speech import (
    MAX_SAMPLES,
    mulaw_decode,
    mulaw_encode,
    read_speech,
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder prepared by the loader itself, with every connection refused."""
    folder = tmp_path_factory.mktemp("tfds")

    def refuse(*args, **kwargs):
        raise AssertionError("The dataset tried to use the network.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        av_digits("validation", data_dir=folder)
    return folder


@pytest.fixture(scope="module")
def stored(data_dir):
    """Every stored example, by split, as NumPy columns."""
    builder = AvDigits(data_dir=str(data_dir))
    columns = {}
    for split in SPLITS:
        batches = list(builder.as_dataset(split=split, batch_size=500).as_numpy_iterator())
        columns[split] = {k: np.concatenate([batch[k] for batch in batches]) for k in batches[0]}
    return columns


def gather(dataset, batch_size=500):
    """Returns a dataset's images, audio and labels as three arrays."""
    batches = list(dataset.batch(batch_size).as_numpy_iterator())
    return tuple(
        np.concatenate(column)
        for column in zip(*((x["image"], x["audio"], y) for x, y in batches), strict=True)
    )


@pytest.fixture(scope="module")
def noisy(data_dir):
    return gather(av_digits("validation", data_dir=data_dir))


# What ships


def test_archive_is_small_and_says_who_spoke():
    archive = importlib.resources.files("mm_keras.datasets.av_digits").joinpath("speech.npz")
    assert len(archive.read_bytes()) <= 4e6
    assert "eSpeak NG" in read_speech().generator


def test_archive_holds_distinct_audible_clips_of_every_digit_by_every_voice():
    speech = read_speech()
    assert len(set(speech.voices)) == len(speech.voices) >= 40
    # No espeak-ng variant speaks as two voices.
    assert len({name.split("+")[1] for name in speech.voices}) == len(speech.voices)
    counts = np.zeros((len(speech.voices), 10), int)
    np.add.at(counts, (speech.voice, speech.digit), 1)
    assert np.all(counts == 2)
    assert np.all(np.diff(speech.voice) >= 0)
    assert len({clip.tobytes() for clip in speech.audio}) == len(speech.audio)
    assert speech.samples.min() > 0.1 * 8000
    assert speech.samples.max() <= MAX_SAMPLES
    for clip, samples in zip(speech.audio, speech.samples, strict=True):
        assert not clip[samples:].any()
        assert 0.05 < np.sqrt(np.mean((clip[:samples] / 32768.0) ** 2)) < 0.11


def test_mulaw_keeps_silence_and_small_relative_errors():
    waveform = np.concatenate([[0.0], np.geomspace(1e-2, 1.0, 200), -np.geomspace(1e-2, 1.0, 200)])
    codes = mulaw_encode(waveform)
    assert codes.dtype == np.uint8
    back = mulaw_decode(codes) / 32768.0
    assert back[0] == 0.0
    np.testing.assert_allclose(back[1:], waveform[1:], rtol=0.04)
    with pytest.raises(
        ValueError, match=r"`waveform` must be within -1\.\.1\. Received: waveform="
    ):
        mulaw_encode(np.array([0.0, 1.5]))


# The splits


def test_splits_have_the_stated_sizes_and_every_class(stored):
    for split in SPLITS:
        labels = stored[split]["label"]
        assert len(labels) == NUM_IMAGES[split] * CLIPS_PER_IMAGE[split]
        assert len(set(stored[split]["image_id"])) == NUM_IMAGES[split]
        share = np.bincount(labels, minlength=10) / len(labels)
        assert np.all(np.abs(share - 0.1) < 0.015)


def test_no_image_and_no_voice_is_in_two_splits(stored):
    for column in ("image_id", "clip_id", "voice", "index"):
        values = [set(stored[split][column].tolist()) for split in SPLITS]
        assert len(set.union(*values)) == sum(map(len, values)), column
    pictures = [{image.tobytes() for image in stored[split]["image"]} for split in SPLITS]
    assert len(set.union(*pictures)) == sum(map(len, pictures)) == 1797
    assert {split: len(set(stored[split]["voice"])) for split in SPLITS} == NUM_VOICES
    assert sum(NUM_VOICES.values()) == len(read_speech().voices)


def test_images_clips_and_labels_belong_together(stored):
    digits, speech = load_digits(), read_speech()
    for columns in stored.values():
        label, image_id, clip_id = columns["label"], columns["image_id"], columns["clip_id"]
        np.testing.assert_array_equal(digits.target[image_id], label)
        np.testing.assert_array_equal(speech.digit[clip_id], label)
        pixels = digits.images[image_id][..., None] * 255 / 16
        np.testing.assert_allclose(columns["image"], pixels, atol=0.51)
        np.testing.assert_array_equal(columns["audio"], speech.audio[clip_id])
        np.testing.assert_array_equal(columns["samples"], speech.samples[clip_id])
        spoken_by = np.array(speech.voices)[speech.voice[clip_id]]
        np.testing.assert_array_equal(columns["voice"].astype(str), spoken_by)


def test_tfds_knows_the_dataset_by_name(data_dir):
    dataset, info = tfds.load("av_digits", split="test", data_dir=str(data_dir), with_info=True)
    assert len(dataset) == 397
    assert info.features["label"].num_classes == 10
    assert "synthetic" in info.description


# The loader


@pytest.mark.parametrize(("split", "length"), [("train", 2400), ("validation", 200), ("test", 397)])
def test_elements_have_the_documented_form(data_dir, split, length):
    dataset = av_digits(split, data_dir=data_dir)
    assert len(dataset) == length
    inputs, label = dataset.element_spec
    assert (inputs["image"].shape, inputs["image"].dtype) == ((8, 8, 1), "uint8")
    assert (inputs["audio"].shape, inputs["audio"].dtype) == ((6400,), "float32")
    assert (label.shape, label.dtype) == ((), "int64")


def test_clean_data_are_the_stored_data(data_dir, stored):
    clean = av_digits("validation", image_noise=0, audio_snr_db=None, data_dir=data_dir)
    image, audio, label = gather(clean)
    np.testing.assert_array_equal(image, stored["validation"]["image"])
    np.testing.assert_array_equal(audio, stored["validation"]["audio"] / np.float32(32768))
    np.testing.assert_array_equal(label, stored["validation"]["label"])


def test_noise_in_one_modality_leaves_the_other_alone(data_dir, stored, noisy):
    image, audio, _ = gather(av_digits("validation", image_noise=0, data_dir=data_dir))
    np.testing.assert_array_equal(image, stored["validation"]["image"])
    np.testing.assert_array_equal(audio, noisy[1])
    image, audio, _ = gather(av_digits("validation", audio_snr_db=None, data_dir=data_dir))
    np.testing.assert_array_equal(image, noisy[0])
    np.testing.assert_array_equal(audio, stored["validation"]["audio"] / np.float32(32768))


def test_audio_is_in_range_and_audible(noisy):
    audio = noisy[1]
    assert np.all(np.isfinite(audio))
    assert np.abs(audio).max() <= 1.0
    assert np.sqrt(np.mean(audio**2, axis=1)).min() > 0.01


@pytest.mark.parametrize("snr_db", [AUDIO_SNR_DB, 20.0])
def test_speech_to_babble_ratio_is_the_one_asked(data_dir, stored, snr_db):
    _, audio, _ = gather(av_digits("validation", audio_snr_db=snr_db, data_dir=data_dir))
    clean, samples = stored["validation"]["audio"] / 32768.0, stored["validation"]["samples"]
    whole = np.abs(audio).max(axis=1) < 1.0 - 1e-6  # the others were scaled down to fit
    assert np.mean(whole) > 0.5
    babble_power = np.mean((audio - clean) ** 2, axis=1)
    speech_power = np.sum(clean**2, axis=1) / samples
    measured = 10 * np.log10(speech_power / babble_power)
    np.testing.assert_allclose(measured[whole], snr_db, atol=0.05)


def test_pixel_noise_has_the_deviation_asked(data_dir, stored):
    image, _, _ = gather(av_digits("validation", image_noise=10.0, data_dir=data_dir))
    clean = stored["validation"]["image"].astype(float)
    inside = (clean > 50) & (clean < 205)  # five deviations from where it would be clipped
    noise = (image - clean)[inside]
    assert abs(noise.mean()) < 0.3
    assert abs(noise.std() - 10.0) < 0.3


@pytest.mark.parametrize("split", SPLITS)
def test_babble_is_the_split_s_other_voices(stored, split):
    voice = read_speech().voice
    rows, first, count = babblers(split)
    here = np.isin(voice, np.unique(voice[stored[split]["clip_id"]]))
    np.testing.assert_array_equal(rows, np.flatnonzero(here))
    for clip in np.unique(stored[split]["clip_id"]):
        behind = rows[(first[clip] + np.arange(count[clip])) % len(rows)]
        expected = np.flatnonzero(here & (voice != voice[clip]))
        np.testing.assert_array_equal(np.sort(behind), expected)


def test_noise_depends_on_seed_and_example_alone(data_dir, noisy):
    dataset = av_digits("validation", data_dir=data_dir)
    again = gather(dataset)
    shuffled = gather(dataset.shuffle(200, seed=3), batch_size=64)
    tail = gather(dataset.skip(150))
    other = gather(av_digits("validation", seed=1, data_dir=data_dir))

    def by_content(column):
        return sorted(row.tobytes() for row in column)

    for k in (0, 1):
        np.testing.assert_array_equal(again[k], noisy[k])
        np.testing.assert_array_equal(tail[k], noisy[k][150:])
        assert by_content(shuffled[k]) == by_content(noisy[k])
        assert not np.any(np.all(other[k] == noisy[k], axis=tuple(range(1, other[k].ndim))))
    np.testing.assert_array_equal(other[2], noisy[2])


def test_examples_of_one_image_get_different_noise(data_dir, stored):
    image, _, _ = gather(av_digits("train", audio_snr_db=None, data_dir=data_dir))
    assert len({picture.tobytes() for picture in image}) == len(image) == 2400
    assert len(set(stored["train"]["image_id"])) == 1200


def test_opening_logs_no_warning(data_dir, caplog):
    with caplog.at_level(logging.WARNING):
        next(iter(av_digits("validation", data_dir=data_dir)))
    assert caplog.records == []


def test_defaults_are_the_named_constants(data_dir, noisy):
    named = av_digits(
        "validation", image_noise=IMAGE_NOISE, audio_snr_db=AUDIO_SNR_DB, data_dir=data_dir
    )
    for column, expected in zip(gather(named), noisy, strict=True):
        np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"split": "valid"},
            r"`split` must be one of \['train', 'validation', 'test'\]\. Received: split='valid'\.",
        ),
        ({"split": None}, r"`split` must be one of .* Received: split=None\."),
        (
            {"image_noise": -1},
            r"`image_noise` must be a finite number of at least 0.* Received: image_noise=-1\.",
        ),
        ({"image_noise": float("nan")}, r"`image_noise` must be .* Received: image_noise=nan\."),
        ({"image_noise": None}, r"`image_noise` must be .* Received: image_noise=None\."),
        (
            {"audio_snr_db": "loud"},
            r"`audio_snr_db` must be .* or None for no noise\. Received: audio_snr_db='loud'\.",
        ),
        (
            {"audio_snr_db": float("inf")},
            r"`audio_snr_db` must be a number of decibels .* Received: audio_snr_db=inf\.",
        ),
        ({"seed": 0.5}, r"`seed` must be an integer of at least 0 .* Received: seed=0\.5\."),
        ({"seed": -1}, r"`seed` must be an integer of at least 0 .* Received: seed=-1\."),
        ({"seed": 2**31}, r"`seed` must be .* below 2\*\*31\. Received: seed=2147483648\."),
        ({"seed": True}, r"`seed` must be an integer .* Received: seed=True\."),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        av_digits(**{"split": "test", "data_dir": tmp_path / "new", **arguments})
    assert not (tmp_path / "new").exists()
