"""Balanced accuracy on imbalanced classes: weights, resampling and losses beside the plain fit.

    MM_KERAS_DATA=… python benchmarks/balance.py [--seeds 5] [--epochs 6]

Protocol: the rating, 1 to 5 stars, of a review of a piece of clothing, from its text (at most 60
words, a vocabulary of 5,000 from the training part) and a table (age, division, department,
class). Reviews without text are left out; 80 % of the pieces train, 20 % test, split anew for each
seed; no epoch is chosen. 55 % of the reviews have five stars, 4 % one. Every row has the same
model, the same number of gradient steps (that of `--epochs` epochs of the plain row), batches of 64
and Adam. The figure is the mean of the classes' recalls on the untouched test part.

MM_KERAS_DATA is a folder with `womens_clothing/reviews.csv.gz`, as its authors give it (Women's
E-Commerce Clothing Reviews).
"""

import argparse
import csv
import functools
import gzip
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from seeds import repeat, report
from sklearn.metrics import balanced_accuracy_score

import mm_keras as mm
from mm_keras.training import jit_compile

CLASSES = 5
BATCH = 64
BETA = 0.9999
CATEGORIES = {"Division Name": None, "Department Name": None, "Class Name": None}
METHODS = {
    "plain": "plain",
    "class-balanced weights": "weights",
    "oversampling": "oversample",
    "undersampling": "undersample",
    "focal, class-balanced": "focal",
    "logit adjustment": "logit",
}


def read_reviews(folder):
    """Returns columns of text, numbers and categories, ratings 0…4 and the pieces' ids."""
    with gzip.open(folder / "reviews.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Review Text"]]
    table = {name: np.array([row[name] or "none" for row in rows]) for name in CATEGORIES}
    table["Age"] = np.array([float(row["Age"]) for row in rows])
    texts = np.array([f"{row['Title']} {row['Review Text']}" for row in rows])
    ratings = np.array([int(row["Rating"]) - 1 for row in rows])
    return texts, table, ratings, np.array([row["Clothing ID"] for row in rows])


def make_splits(reviews, seed):
    """Returns specs and `{split: (inputs, labels)}`."""
    texts, table, ratings, pieces = reviews
    names, piece = np.unique(pieces, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names))[piece] / len(names)
    parts = {"train": place < 0.8, "test": place >= 0.8}
    rows = {split: np.flatnonzero(part) for split, part in parts.items()}
    text = mm.Text(60, 5000).adapt(texts[rows["train"]].tolist())
    columns = {name: column[rows["train"]] for name, column in table.items()}
    spec = mm.Tabular(numeric=("Age",), categorical=CATEGORIES).adapt(columns)
    encoded = {"text": text.vectorize(texts.tolist()), "table": spec.encode(table)}
    splits = {
        split: ({name: value[part] for name, value in encoded.items()}, ratings[part])
        for split, part in rows.items()
    }
    return {"text": text, "table": spec}, splits


def stream(method, train, counts, seed):
    """Returns an endless, shuffled stream of training batches."""
    data = tf.data.Dataset.from_tensor_slices(train)
    if method in ("oversample", "undersample"):
        data = mm.data.balance(data, CLASSES, method=method, counts=counts, seed=seed)
    data = data.shuffle(40_000, seed=seed).repeat().batch(BATCH)
    if method == "weights":
        data = mm.data.add_class_weights(data, mm.data.class_weights(counts, beta=BETA))
    return data


def row(splits_of, epochs, method):
    def run(seed):
        specs, splits = splits_of(seed)
        inputs, labels = splits["train"]
        counts = np.bincount(labels, minlength=CLASSES)
        losses = {
            "focal": lambda: mm.losses.FocalCrossentropy(
                alpha=mm.data.class_weights(counts, beta=BETA)
            ),
            "logit": lambda: mm.losses.LogitAdjustedCrossentropy(counts),
        }
        keras.utils.set_random_seed(seed)
        model = mm.build_mcnn(specs, CLASSES, width=32, hidden=(32,), dropout=0.3, seed=seed)
        loss = losses.get(method, mm.losses.classification)()
        model.compile("adam", loss, jit_compile=jit_compile())
        model.fit(
            stream(method, splits["train"], counts, seed),
            steps_per_epoch=len(labels) // BATCH,
            epochs=epochs,
            verbose=0,
        )
        inputs, labels = splits["test"]
        predicted = model.predict(inputs, batch_size=256, verbose=0)["label"].argmax(-1)
        figures = {
            "balanced accuracy %": 100 * float(balanced_accuracy_score(labels, predicted)),
            "accuracy %": 100 * float(np.mean(labels == predicted)),
        }
        print(method, seed, counts, figures, flush=True)
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with womens_clothing/: see the head of this file.")
    reviews = read_reviews(pathlib.Path(folder, "womens_clothing"))
    splits_of = functools.cache(functools.partial(make_splits, reviews))
    runs = {name: row(splits_of, options.epochs, method) for name, method in METHODS.items()}
    report(
        "balance",
        repeat(runs, range(options.seeds)),
        "Ratings of clothing, text and table, test pieces unseen",
        seeds=options.seeds,
        epochs=options.epochs,
        batch=BATCH,
        beta=BETA,
    )


if __name__ == "__main__":
    main()
