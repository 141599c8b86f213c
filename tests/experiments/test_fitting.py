"""What does not fit the data is said before training, by the names of the file."""

import numpy as np
import pytest

from mm_keras.cli import main
from mm_keras.experiments import read_config, run_experiment
from mm_keras.experiments.fitting import check_classes, check_splits

CONFIG = """
modalities: {{a: {{type: Features, shape: 2}}}}
builder: {{num_classes: {classes}, width: 4}}
dataset: {{{dataset}}}
fit: {{epochs: 1}}
output: out
"""
ARRAYS = "type: arrays, path: data.npz, labels: {labels}, split: part, batch_size: 4"


@pytest.fixture(autouse=True)
def arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = np.arange(24) % 3
    np.savez(
        "data.npz",
        a=np.eye(3, 2)[ids].astype("float32"),
        ids=ids,
        names=np.array(["hat", "shoe", "sock"])[ids],
        shares=np.eye(3)[ids],
        part=np.repeat(["train", "validation", "test"], 8),
    )


def config(dataset, classes="3"):
    with open("config.yaml", "w", encoding="utf-8") as file:
        file.write(CONFIG.format(dataset=dataset, classes=classes))
    return "config.yaml"


def failure(path, capsys, command="train"):
    """Returns what the command says; nothing was trained."""
    assert main([command, path]) == 2
    printed = capsys.readouterr()
    assert "epoch" not in printed.out
    return " ".join(printed.err.split())


NAMED = "`num_classes` must be 3, the number of classes in column 'names' of data.npz: 'hat', "


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ("names", "5", NAMED + "'shoe', 'sock'. Classes that are in no row must be named in"),
        ("names", "2", NAMED + "'shoe', 'sock'. Received: num_classes=2"),
        (
            "ids",
            "2",
            "`num_classes` must be above the highest label, which is 2 in column 'ids' of "
            "data.npz, test: ids of classes count from 0. Received: num_classes=2",
        ),
        (
            "{kind: names, way: ids}",
            "{kind: 4, way: 3}",
            "`num_classes['kind']` must be 3",
        ),
    ],
)
def test_another_number_of_classes(capsys, labels, classes, message):
    path = config(ARRAYS.format(labels=labels), classes)
    assert message in failure(path, capsys)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("names", "3"),
        ("names, classes: [hat, shoe, sock, tie]", "4"),
        ("ids", "7"),
        ("shares", "3"),
        ("ids", "{type: Regression, units: 1}"),
    ],
)
def test_what_fits(labels, classes):
    experiment = read_config(config(ARRAYS.format(labels=labels), classes))
    check_splits(experiment)
    check_classes(experiment)


TWO = "type: arrays, path: data.npz, labels: ids, fractions: {train: 0.8, test: 0.2}"
SPLIT = "must be one of the splits ['test', 'train'] of data.npz"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "",
            f"`dataset.validation` {SPLIT}, or null, which trains without one: `validation: null`. "
            "Received: validation='validation', which holds where the file names none.",
        ),
        (
            ", validation: tst",
            f"`dataset.validation` {SPLIT}, or null, which trains without one: `validation: null`. "
            "Did you mean 'test'? Received: validation='tst'.",
        ),
        (", validation: null, test: tests", f"`dataset.test` {SPLIT}. Did you mean 'test'?"),
    ],
)
def test_a_split_that_is_not_there(capsys, more, message):
    path = config(TWO + more)
    assert message in failure(path, capsys)
    assert message in failure(path, capsys, command="inspect")


def test_splits_of_tfds(digits_folder):
    text = f"name: av_digits, data_dir: {digits_folder}, inputs: {{a: image}}, validation: "
    check_splits(read_config(config(f"{text}validation")))
    check_splits(read_config(config(f"{text}'train[:10%]'")))
    with pytest.raises(ValueError, match=r"`dataset.validation` must be one of the splits \['test"):
        run_experiment(read_config(config(f"{text}valid")))
