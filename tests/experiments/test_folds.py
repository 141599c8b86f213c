"""Folds of every kind of source: no sample in two, none lost, and nothing seen of the test."""

import collections
import dataclasses

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.data import ArraySource, FolderSource, TableSource
from mm_keras.data.sources import TFRecordSource
from mm_keras.data.split import Strata
from mm_keras.evaluate import mean_interval, paired_test
from mm_keras.experiments import Comparison, Experiment
from mm_keras.experiments.config import Splits
from mm_keras.experiments.folds import Folds, fold_places
from tests.media import write_picture

SPLITS = Splits("train", "validation", "test", batch_size=7)
LABELS = np.array(["red", "blue", "red", "green"])[np.arange(48) % 4]


def numbers_of(dataset, modality="x"):
    return [int(n) for inputs, _ in dataset for n in np.ravel(inputs[modality])]


@pytest.fixture
def arrays(tmp_path):
    """48 samples whose only feature is their number; every fourth one validates."""
    parts = np.array(["train", "validation", "test"])[np.array([0, 0, 2, 1])[np.arange(48) // 12]]
    np.savez(
        tmp_path / "data.npz",
        x=np.arange(48, dtype="float32")[:, None],
        y=LABELS,
        split=parts,
        person=np.arange(48) // 4,
    )
    return ArraySource(path=str(tmp_path / "data.npz"), labels="y", split="split")


def experiment(source, **options):
    return Experiment(
        modalities={"x": mm.Features(1)}, num_classes=3, source=source, splits=SPLITS, **options
    )


def parts_of(whole, folds=3, repetition=0, modality="x"):
    """Yields the numbers of training, validation and test samples of each fold."""
    made = Folds(whole, folds, repetition)
    for fold in range(folds):
        one = made.experiment(whole, fold)
        yield [
            numbers_of(one.source.batches(split, one.modalities, 7), modality)
            for split in ("train", "validation", "test")
        ]


def assert_folds(parts, count, validating):
    tested = []
    for train, validation, test in parts:
        assert validation == validating
        assert not set(train) & set(test)
        assert len({*train, *test}) == len(train) + len(test) == count
        tested += test
    assert len(tested) == len(set(tested)) == count


def test_arrays(arrays):
    parts = list(parts_of(experiment(arrays)))
    assert_folds(parts, 36, list(range(36, 48)))
    for _, _, test in parts:
        assert collections.Counter(LABELS[test]) == {"red": 6, "blue": 3, "green": 3}
    others = [test for _, _, test in parts_of(experiment(arrays), repetition=1)]
    assert others != [test for _, _, test in parts]
    assert [test for _, _, test in parts_of(experiment(arrays))] == [test for _, _, test in parts]


def test_labels_stay_with_their_samples(arrays):
    one = Folds(experiment(arrays), 3).experiment(experiment(arrays), 1)
    names = sorted(set(LABELS))
    for inputs, labels in one.source.batches("test", one.modalities, 100):
        assert [names[label] for label in labels] == [LABELS[int(n)] for n in np.ravel(inputs["x"])]


def test_groups_stay_whole(arrays, tmp_path):
    grouped = ArraySource(
        path=str(tmp_path / "data.npz"),
        labels="y",
        fractions={"train": 0.5, "validation": 0.25, "test": 0.25},
        group="person",
    )
    for train, _, test in parts_of(experiment(grouped)):
        assert not {n // 4 for n in train} & {n // 4 for n in test}


def test_specs_see_the_training_part_alone(tmp_path):
    words = [f"word{n}" for n in range(12)]
    lines = "\n".join(f"{word},{'ab'[n % 2]}" for n, word in enumerate(words))
    (tmp_path / "t.csv").write_text(f"text,label\n{lines}\n")
    source = TableSource(path=str(tmp_path / "t.csv"), fractions={"train": 0.5, "test": 0.5})
    text = {"text": mm.Text(2, 50)}
    whole = Experiment(text, 2, source, splits=Splits("train", None, "test"))
    folds = Folds(whole, 3)
    for fold in range(3):
        one = folds.experiment(whole, fold).source
        known = set(one.adapt(text, "train")["text"].vocabulary)
        tested = set(one.tables["test"]["text"])
        assert len(known & set(words)) == 8
        assert not known & tested


def test_folders(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for kind in ("cat", "dog"):
            (tmp_path / split / kind).mkdir(parents=True)
            for n in range(count):
                picture = np.full((2, 2, 1), rng.integers(256), "uint8")
                write_picture(tmp_path / split / kind / f"{n}.png", picture)
    image = {"image": mm.Image((2, 2, 1), backbone="SmallCNN")}
    source = FolderSource(path=str(tmp_path), modalities=image)
    whole = Experiment(image, 2, source, splits=Splits("train", None, "test"))
    folds = Folds(whole, 2)
    for fold in range(2):
        one = folds.experiment(whole, fold).source
        batches = list(one.batches("test", image, 20))
        assert np.bincount(batches[0][1]).tolist() == [3, 3]


def test_no_classes_no_strata(arrays):
    whole = dataclasses.replace(experiment(arrays), num_classes=mm.Regression(1))
    assert_folds(parts_of(whole), 36, list(range(36, 48)))
    places = fold_places(Strata(10, None, np.repeat(np.arange(5), 2)), 5, 0)
    assert np.all(places[::2] == places[1::2])
    assert sorted(places) == sorted([0, 1, 2, 3, 4] * 2)


@pytest.mark.parametrize(
    ("strata", "message"),
    [
        (Strata(3), "number of samples. Received: folds=4, 3 samples"),
        (
            Strata(9, np.array(["a"] * 6 + ["b"] * 3)),
            r"of each class.*folds=4, classes with fewer samples: \{'b': 3\}",
        ),
        (Strata(8, None, np.arange(8) // 4), "number of groups.*folds=4, 2 groups"),
    ],
)
def test_too_many_folds(strata, message):
    with pytest.raises(ValueError, match=message):
        fold_places(strata, 4, 0)


def test_what_has_no_folds(arrays, tmp_path):
    records = experiment(TFRecordSource(path=str(tmp_path)))
    with pytest.raises(ValueError, match=r"must be left out but for.*folds=2, TFRecordSource"):
        Folds(records, 2)
    with pytest.raises(ValueError, match="folds=2, a target domain"):
        Folds(dataclasses.replace(experiment(arrays), target=arrays), 2)


def test_files_of_several_folders_need_a_root(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "t.csv").write_text("x,label\n1,a\n2,b\n3,a\n4,b\n")
    paths = {split: str(tmp_path / split / "t.csv") for split in ("train", "test")}
    whole = dataclasses.replace(
        experiment(TableSource(path=paths)), splits=Splits("train", None, "test")
    )
    with pytest.raises(ValueError, match="`root` must be given where splits of several folders"):
        Folds(whole, 2).experiment(whole, 0)
    rooted = dataclasses.replace(whole, source=TableSource(path=paths, root=str(tmp_path)))
    one = Folds(rooted, 2).experiment(rooted, 0)
    assert len(one.source.tables["test"]["x"]) == 4


def test_what_is_repeated(arrays):
    def compared(**options):
        return Comparison(experiment(arrays), {"both": ("build_mcnn", {})}, **options)

    assert compared().described == "3 seeds"
    assert compared(folds=5).described == "5 folds"
    assert compared(folds=5, seeds=2).described == "2 × 5 folds"
    assert compared(folds=5).test_ratio == pytest.approx(1 / 4)
    assert compared().test_ratio == 0


def test_the_correction_keeps_its_level():
    """Of equal systems on folds the plain test finds many that differ, the corrected one few."""
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(400):
        # What folds have in common moves all of them: independent parts of a variance are a share.
        common = rng.normal() * np.sqrt(1 / 5)
        a = common + rng.normal(size=5)
        plain.append(paired_test(a, np.zeros(5)) < 0.05)
        corrected.append(paired_test(a, np.zeros(5), 1 / 4) < 0.05)
    assert np.mean(plain) > 0.09
    assert np.mean(corrected) < 0.07
    a, b = [0.5, 0.7, 0.6], [0.4, 0.4, 0.6]
    difference = np.subtract(a, b)
    t = difference.mean() / (difference.std(ddof=1) * np.sqrt(1 / 3 + 1 / 2))
    from scipy import stats

    assert paired_test(a, b, 1 / 2) == pytest.approx(2 * stats.t.sf(t, 2))
    assert paired_test(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_test(a, a) is None
    wide, narrow = mean_interval(a, test_ratio=1 / 2), mean_interval(a)
    assert wide == pytest.approx(narrow * np.sqrt((1 / 3 + 1 / 2) * 3))
    with pytest.raises(ValueError, match="`a` and `b` must have the same number"):
        paired_test(a, b[:2])
    with pytest.raises(ValueError, match="`test_ratio` must be at least 0"):
        paired_test(a, b, -1)
