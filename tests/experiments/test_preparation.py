"""`mm-keras train`: keys of the dataset that change what is trained on, each seen to do so."""

import json
import re

import numpy as np
import pytest

from mm_keras.cli import main
from mm_keras.experiments import read_config
from mm_keras.experiments.preparation import AUGMENTATIONS, KEYS
from mm_keras.models.heads import check_heads

COUNT = 40
CONFIG = """
modalities:
  image: {{type: Image, shape: [8, 8, 3], backbone: SmallCNN}}
  audio: {{type: Audio, samples: 400, sample_rate: 8000, optional: true, mel_bins: 8}}
  title: {{type: Text, max_tokens: 3, vocabulary_size: 9, vocabulary: [a, b, c]}}
  row: {{type: Tabular, numeric: [price]}}
builder: {{name: build_mcnn, num_classes: {classes}, width: 8}}
dataset: {{type: arrays, path: data.npz, split: part, batch_size: 8{more}}}
fit: {{epochs: 1}}
output: out
"""


@pytest.fixture(autouse=True)
def arrays(tmp_path, monkeypatch):
    """Four samples of class 0 to one of class 1; the picture, sound and label are of one number."""
    monkeypatch.chdir(tmp_path)
    label = (np.arange(COUNT) % 5 == 0).astype("int64")
    np.savez(
        "data.npz",
        image=np.full((COUNT, 8, 8, 3), 100, "uint8")
        + 100 * label.astype("uint8")[:, None, None, None],
        audio=np.full((COUNT, 400), 0.1, "float32") + 0.5 * label[:, None].astype("float32"),
        title=np.tile([[2, 3, 4]], (COUNT, 1)),
        price=np.arange(COUNT, dtype="float32"),
        label=label,
        part=np.repeat(["train", "validation", "test"], [20, 10, 10]),
    )


def experiment(more="", classes="2"):
    with open("config.yaml", "w", encoding="utf-8") as file:
        file.write(CONFIG.format(more=f", {more}" if more else "", classes=classes))
    return read_config("config.yaml")


def prepared(more="", classes="2"):
    """Returns all inputs, labels and weights of an epoch of training, prepared."""
    made = experiment(more, classes)
    modalities = made.source.adapt(made.modalities, "train")
    batches = made.source.batches("train", modalities, 8, seed=0)
    heads = check_heads(made.num_classes)
    parts = list(made.preparation(batches, modalities, heads, 8, 0).as_numpy_iterator())
    inputs = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return inputs, *(np.concatenate([part[n] for part in parts]) for n in range(1, len(parts[0])))


def test_without_keys_samples_are_as_they_were():
    inputs, labels = prepared()
    assert labels.tolist() == [1, 0, 0, 0, 0] * 4
    assert set(np.unique(inputs["image"])) == {100, 200}


def test_balance():
    for value in ("oversample", "{method: oversample, target: [1, 1]}"):
        assert np.bincount(prepared(f"balance: {value}")[1]).tolist() == [16, 16]
    assert np.bincount(prepared("balance: undersample")[1]).tolist() == [4, 4]


def test_augment_each_modality_and_no_other():
    plain, _ = prepared()
    cases = {
        "image": "RandomBrightness: {factor: 0.2}",
        "audio": "AddNoise: {min_snr_db: 5, max_snr_db: 9}",
        "title": "TokenDropout: {rate: 0.9}",
        "row": "TabularNoise: {scale: 0.5}",  # is given the spec, adapted
    }
    for name, step in cases.items():
        inputs, labels = prepared(f"augment: {{{name}: {{{step}}}}}")
        assert labels.tolist() == [1, 0, 0, 0, 0] * 4
        assert {n for n in plain if (plain[n] != inputs[n]).any()} == {name}


def test_augment_by_several_in_order():
    steps = "[{RandomInvert: {factor: [1, 1]}}, RandomFlip, {RandomInvert: {factor: [1, 1]}}]"
    np.testing.assert_array_equal(
        prepared(f"augment: {{image: {steps}}}")[0]["image"], prepared()[0]["image"]
    )
    inputs, _ = prepared("augment: {audio: [TimeMask, RandomGain]}")
    assert (inputs["audio"] == 0).any()
    assert len(np.unique(inputs["audio"].max(axis=1).round(5))) > 4


def test_drop_modalities():
    for value in ("0.5", "{audio: 0.5}"):
        inputs, _ = prepared(f"drop_modalities: {value}")
        there = inputs["audio_present"][:, 0]
        assert 0 < there.sum() < len(there)
        np.testing.assert_array_equal(inputs["audio"].any(axis=1), there)


def test_class_weights_of_what_is_trained_on():
    _, labels, weights = prepared("class_weights: {beta: 1.0}")
    np.testing.assert_allclose(weights, np.where(labels == 1, 1.6, 0.4), rtol=1e-6)
    _, labels, weights = prepared("class_weights: true")
    assert weights[labels == 1].min() > weights[labels == 0].max()
    assert len(prepared("class_weights: false")) == 2
    _, _, weights = prepared("class_weights: {beta: 1.0}, balance: oversample")
    np.testing.assert_allclose(weights, 1.0)


def test_mix():
    inputs, labels = prepared("mix: {method: mixup, alpha: 1.0, whole: [title]}")
    assert labels.shape == (20, 2)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
    share = (inputs["audio"][:, 0] - 0.1) / 0.5  # of class 1
    np.testing.assert_allclose(inputs["image"][:, 0, 0, 0], 100 + 100 * share, atol=0.6)
    np.testing.assert_allclose(labels[:, 1], share, atol=0.26)  # the whole title is a fourth of it
    assert ((labels > 0.05) & (labels < 0.95)).any()
    assert prepared("mix: modalitymix")[1].shape == (20, 2)


def test_one_of_several_heads_is_balanced_and_all_of_classes_weighted():
    heads = "{kind: 2, price: {type: Regression, units: 1}}"
    labels = "labels: {kind: label, price: price}"
    made = experiment(f"{labels}, balance: undersample, class_weights: {{beta: 1.0}}", heads)
    modalities = made.source.adapt(made.modalities, "train")
    batches = made.source.batches("train", modalities, 8)
    (_, found, weights), *_ = made.preparation(
        batches, modalities, check_heads(made.num_classes), 8, 0
    )
    assert np.bincount(found["kind"]).tolist() == [4, 4]
    assert set(weights) == {"kind", "price"}


ALL = (
    "balance: oversample, augment: {image: [RandomFlip, RandomRotation: {factor: 0.1}], "
    "audio: TimeShift}, drop_modalities: 0.2, class_weights: true, "
    "mix: {method: mixup, whole: [title]}"
)


@pytest.mark.slow
def test_all_of_them_train_and_the_figures_are_of_plain_samples(capsys):
    experiment(ALL)
    assert main(["train", "config.yaml"]) == 0
    with open("out/metrics.json", encoding="utf-8") as file:
        (row,) = json.load(file)["models"]
    assert 0 <= row["test"]["accuracy"] <= 1
    assert row["test"]["accuracy"] * 10 == pytest.approx(round(row["test"]["accuracy"] * 10))
    assert "val_accuracy" in row["history"]


def test_every_key_is_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    assert all(key in printed for key in KEYS)
    assert len(AUGMENTATIONS) == 34


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("augmnt: {}", "`dataset`.*Did you mean 'augment'"),
        ("augment: {imag: RandomFlip}", "`dataset.augment` must have keys.*Did you mean 'image'"),
        ("augment: {image: RandomFlop}", "`dataset.augment.image`.*Did you mean 'RandomFlip'"),
        ("augment: {image: {RandomFlip: {mod: h}}}", r"`dataset.augment.image.RandomFlip`.*'mode'"),
        ("augment: {image: TimeShift}", r"dataset.augment: .*waveforms"),
        (
            "augment: {audio: {TimeShift: {max_share: 2}}}",
            "dataset.augment: TimeShift: `max_share`",
        ),
        ("augment: {row: {TabularNoise: {spec: 3}}}", "`dataset.augment.row.TabularNoise`.*'spec'"),
        ("balance: oversampel", "dataset.balance: `method`.*Did you mean 'oversample'"),
        ("balance: {targte: uniform}", "`dataset.balance`.*Did you mean 'target'"),
        ("balance: {seed: 3}", "`dataset.balance`.*'seed'"),
        ("balance: {target: [1, 2, 3]}", "dataset.balance: `target`"),
        ("class_weights: 3", "dataset.class_weights: `class_weights` must be a bool"),
        ("class_weights: {bet: 1}", "`dataset.class_weights`.*Did you mean 'beta'"),
        ("class_weights: {beta: 2}", r"dataset.class_weights: `beta` must be in \[0, 1\]"),
        ("drop_modalities: 2", "dataset.drop_modalities: `rate`"),
        ("drop_modalities: {image: 0.1}", "dataset.drop_modalities: `rate` must be one of"),
        ("mix: mixupp", "dataset.mix: `method`.*Did you mean 'mixup'"),
        ("mix: mixup", r"dataset.mix: .*Pass whole=\['title'\]"),
        ("mix: {alhpa: 1}", "`dataset.mix`.*Did you mean 'alpha'"),
    ],
)
def test_errors_name_the_key(more, message):
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        experiment(more)


def test_classes_and_targets():
    with pytest.raises(ValueError, match=r"`dataset.balance` and .* a head of classes"):
        experiment("balance: oversample", "{type: Regression, units: 1}")
    text = CONFIG.format(more=", mix: modalitymix, target: {path: data.npz}", classes="2")
    with open("afe.yaml", "w", encoding="utf-8") as file:
        file.write(re.sub("build_mcnn", "build_afe", text))
    with pytest.raises(ValueError, match=r"must not be given with build_afe.*\['mix'\]"):
        read_config("afe.yaml")
