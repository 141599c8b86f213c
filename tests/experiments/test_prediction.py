"""`mm-keras predict`: a table without labels comes back with predictions."""

import csv
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml

import mm_keras as mm
from mm_keras.cli import main
from mm_keras.experiments.config import parse_config
from mm_keras.experiments.prediction import predict_rows
from tests.media import picture, write_picture

KINDS = ["hat", "shoe"]
SHOP = {
    "modalities": {
        "title": {"type": "Text", "max_tokens": 4, "vocabulary_size": 20},
        "table": {"type": "Tabular", "numeric": ["price"]},
    },
    "builder": {"num_classes": 2, "width": 8},
    "dataset": {"type": "table", "labels": "kind", "fractions": {"train": 0.6, "test": 0.4}},
    "compile": {"learning_rate": 0.05},
    "fit": {"epochs": 8},
}
PHOTOS = {
    "photo": {"type": "Image", "shape": [8, 8, 3], "backbone": "SmallCNN"},
    "extra": {"type": "Features", "shape": 2, "optional": True},
}


def write_csv(path, columns):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def photos(tmp_path, count=6):
    for row in range(count):
        write_picture(tmp_path / f"{row}.png", picture(20 * row))
    return {
        "photo": [f"{row}.png" for row in range(count)],
        "a": [str(0.1 * row) for row in range(count)],
        "b": ["1"] * count,
    }


def experiment_of(num_classes, **dataset):
    config = {
        "modalities": PHOTOS,
        "builder": {"num_classes": num_classes, "width": 8},
        "dataset": {
            "type": "table",
            "path": "absent.csv",
            "inputs": {"extra": ["a", "b"]},
            "batch_size": 4,
            **dataset,
        },
    }
    experiment = parse_config(config)
    model = mm.build_mcnn(experiment.modalities, experiment.num_classes, width=8)
    return experiment, model


def expected(model, tmp_path, columns):
    inputs = mm.data.from_table(
        {**columns, "label": [0] * len(columns["a"])},
        mm.modalities_of(model),
        inputs={"extra": ["a", "b"]},
        root=tmp_path,
    )
    return model.predict(inputs.batch(99), verbose=0)


def test_what_train_wrote_predicts_a_table_without_labels(tmp_path, capsys):
    rows = range(60)
    kinds = [KINDS[row % 2] for row in rows]
    columns = {
        "title": [f"a red {kind}" for kind in kinds],
        "price": [str(10 + row % 7) for row in rows],
        "kind": kinds,
    }
    run = tmp_path / "run"
    path = write_csv(tmp_path / "shop.csv", columns)
    config = {**SHOP, "dataset": {**SHOP["dataset"], "path": str(path), "validation": None}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump({**config, "output": str(run)}))
    assert main(["train", str(tmp_path / "shop.yaml")]) == 0
    path.unlink()  # what it was trained on is not needed any more

    new = {
        "code": ["x1", "x2", "x3"],
        "title": ["blue shoe", "blue hat", "a shoe"],
        "price": ["12", "11", ""],
    }
    write_csv(tmp_path / "new.csv", new)
    command = [sys.executable, "-m", "mm_keras", "predict", str(run), str(tmp_path / "new.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 3 rows have no prediction" in done.stdout
    found = read_csv(tmp_path / "predictions.csv")
    assert list(found[0]) == [*new, "predicted_kind", "predicted_kind_probability"]
    assert [row["code"] for row in found] == new["code"]
    assert [row["predicted_kind"] for row in found] == ["shoe", "hat", ""]
    assert float(found[0]["predicted_kind_probability"]) > 0.8

    # What it wrote can be read again; its own columns are replaced, not doubled.
    again = tmp_path / "again" / "all.csv"
    arguments = [str(run / "model.keras"), str(tmp_path / "predictions.csv"), "--probabilities"]
    arguments += ["--config", str(run / "config.yaml"), "--output", str(again)]
    assert main(["predict", *arguments]) == 0
    assert "Predictions for 2 rows in" in capsys.readouterr().out
    row, *_ = read_csv(again)
    assert list(row)[3:] == [
        "predicted_kind",
        "predicted_kind_probability",
        "predicted_kind_hat",
        "predicted_kind_shoe",
    ]
    shares = float(row["predicted_kind_hat"]), float(row["predicted_kind_shoe"])
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["predicted_kind_probability"] == row["predicted_kind_shoe"]


def test_a_broken_file_is_absent_or_leaves_the_row_empty(tmp_path):
    experiment, model = experiment_of(3)
    columns = photos(tmp_path)
    whole = expected(model, tmp_path, columns)["label"]
    (tmp_path / "2.png").write_bytes(b"no picture")
    columns["a"][4] = "abc"
    path = write_csv(tmp_path / "new.csv", columns)
    found = predict_rows(model, experiment, path)
    assert found.unread == [2]
    assert found.columns["predicted_label"][2] == ""
    assert [(record.row, record.action) for record in found.report] == [(2, "drop"), (4, "absent")]
    shares = found.columns["predicted_label_probability"]
    for row in (0, 1, 3, 5):
        assert found.columns["predicted_label"][row] == str(whole[row].argmax())
        assert shares[row] == pytest.approx(whole[row].max(), abs=2e-6)
    assert shares[4] != pytest.approx(whole[4].max(), abs=1e-4)


def test_heads_of_every_kind(tmp_path):
    heads = {
        "kind": {"type": "Classification", "units": 2, "logits": True},
        "tags": {"type": "MultiLabel", "units": 2, "logits": True},
        "price": {"type": "Regression", "units": 1},
        "size": {"type": "Regression", "units": 2},
    }
    labels = {"kind": "kind", "tags": ["red", "warm"], "price": "price", "size": ["w", "h"]}
    experiment, model = experiment_of(heads, labels=labels)
    columns = photos(tmp_path)
    path = write_csv(tmp_path / "new.csv", columns)
    found = predict_rows(model, experiment, path, classes={"kind": KINDS}).columns
    values = expected(model, tmp_path, columns)
    best = values["kind"].argmax(axis=1)
    assert found["predicted_kind"] == [KINDS[number] for number in best]
    shares = np.asarray(keras.ops.softmax(values["kind"])).max(axis=1)
    np.testing.assert_allclose(found["predicted_kind_probability"], shares, atol=2e-6)
    tags = np.stack([found["predicted_red"], found["predicted_warm"]], axis=1)
    np.testing.assert_allclose(tags, 1 / (1 + np.exp(-values["tags"])), atol=2e-6)
    np.testing.assert_allclose(found["predicted_price"], values["price"][:, 0], atol=1e-5)
    size = np.stack([found["predicted_w"], found["predicted_h"]], axis=1)
    np.testing.assert_allclose(size, values["size"], atol=1e-5)


def test_arrays(tmp_path):
    inputs = {"extra": "x"}
    config = {
        "modalities": {"extra": {"type": "Features", "shape": 2}},
        "builder": {"num_classes": 3, "width": 8},
        "dataset": {"type": "arrays", "path": "absent.npz", "inputs": inputs, "labels": "y"},
    }
    experiment = parse_config(config)
    model = mm.build_mcnn(experiment.modalities, 3, width=8)
    x = np.random.default_rng(0).normal(size=(5, 2))
    np.savez(tmp_path / "new.npz", x=x, code=np.arange(5))
    found = predict_rows(model, experiment, tmp_path / "new.npz", batch_size=2)
    best = model.predict({"extra": x}, verbose=0)["label"].argmax(axis=1)
    assert found.columns["predicted_y"] == [str(number) for number in best]
    found.write_csv(tmp_path / "out.csv")
    assert list(read_csv(tmp_path / "out.csv")[0]) == [
        "code",
        "predicted_y",
        "predicted_y_probability",
    ]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dataset": {"name": "av_digits"}}, ValueError, "must be table or arrays.*Source"),
        ({}, ValueError, r"`inputs\['title'\]` must be a column.*Did you mean 'titel'"),
        ({"path": "absent.csv"}, FileNotFoundError, "existing CSV file"),
    ],
)
def test_what_does_not_fit(tmp_path, change, error, message):
    change = dict(change)
    path = change.pop("path", None) or write_csv(
        tmp_path / "new.csv", {"titel": ["red hat"], "price": ["3"]}
    )
    config = {**SHOP, "dataset": {**SHOP["dataset"], "path": "absent.csv"}, **change}
    experiment = parse_config(config)
    modalities = {
        "title": experiment.modalities["title"].adapt(["red hat"]),
        "table": experiment.modalities["table"].adapt({"price": [1.0, 2.0]}),
    }
    model = mm.build_mcnn(modalities, 2, width=4)
    with pytest.raises(error) as caught:
        predict_rows(model, experiment, path)
    assert re.search(message, str(caught.value))
