"""Reviews of other products and pictures from elsewhere, as features, without labels.

    MM_KERAS_DATA=… python benchmarks/afe_features.py [--seeds 5] [--epochs 6]

Protocol, amazon_reviews: 2,000 reviews of a source domain with labels (positive or not), 1,000 of
the target without, the other 1,000 are the test; drawn anew for each seed. Features: log(1 + count)
of 5,000 words, times their inverse document frequency in the training reviews of both domains, at
length 1. office_caltech: 10 classes of objects, SURF histograms of 800 words; all pictures of the
source, half of the target's without labels, the other half is the test. Features: the square roots
of shares, standardised in each domain's training part by itself. webcam has no labels here, and so
is left out.

All rows have 64 features with BatchNormalization and dropout of 0.5 behind; Adam, 32 samples of
each domain in a batch. The epoch is chosen by `mm.training.SelectEpoch` on the target's unlabelled
part, in the row without adaptation too.

MM_KERAS_DATA is a folder with `amazon_reviews/` (`<domain>.svmlight.gz`) and `office_caltech/`
(surf.npz: `<domain>_x`, `<domain>_y`).
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from seeds import repeat, report
from sklearn.datasets import load_svmlight_file

import mm_keras as mm
from mm_keras.training import jit_compile

SOURCE_ONLY, DANN = "source only", "DANN"
ROWS = {
    SOURCE_ONLY: {},
    DANN: {"method": "dann"},
    "CDAN+E": {"method": "cdan", "entropy_conditioning": True},
    "MMD": {"method": "mmd"},
}
REVIEWS = (
    ("books", "dvd"),
    ("books", "electronics"),
    ("books", "kitchen"),
    ("electronics", "books"),
    ("kitchen", "electronics"),
)
OBJECTS = (("amazon", "caltech"), ("caltech", "amazon"))
WORDS = 5000
SHARE = 32


def read_reviews(folder):
    """Returns `{domain: (counts (2000, 5000), labels)}`."""
    domains = {}
    for path in sorted(folder.glob("*.svmlight.gz")):
        counts, labels = load_svmlight_file(str(path), n_features=WORDS, zero_based=True)
        domains[path.name.split(".")[0]] = (
            counts.toarray().astype("float32"),
            (labels > 0).astype("int32"),
        )
    return domains


def read_objects(folder):
    """Returns `{domain: (histograms (n, 800), labels)}` of the domains that have labels."""
    with np.load(folder / "surf.npz") as arrays:
        read = dict(arrays)
    return {
        name: (read[f"{name}_x"].astype("float32"), read[f"{name}_y"].astype("int32"))
        for name in ("amazon", "caltech")
    }


def review_features(source, target, test):
    """Returns the three with inverse document frequencies of the first two."""
    seen = np.concatenate([source, target]) > 0
    weight = np.log((1 + len(seen)) / (1 + seen.sum(axis=0))) + 1

    def scale(counts):
        x = np.log1p(counts) * weight
        return (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)).astype("float32")

    return scale(source), scale(target), scale(test)


def object_features(source, target, test):
    """Returns the three, each domain standardised by its training part."""

    def share(x):
        return np.sqrt(x / np.maximum(x.sum(axis=1, keepdims=True), 1))

    def standardise(x, like):
        like = share(like)
        return ((share(x) - like.mean(axis=0)) / (like.std(axis=0) + 1e-6)).astype("float32")

    return standardise(source, source), standardise(target, target), standardise(test, target)


def samples(x, y=None):
    parts = {"x": x} if y is None else ({"x": x}, y)
    return tf.data.Dataset.from_tensor_slices(parts).shuffle(len(x))


def train(source, target, classes, epochs, **options):
    """Returns a classifier of labelled `source` and unlabelled `target` features."""
    modalities = {"x": mm.Features(target.shape[1], normalization="batch", dropout=0.5)}
    callbacks = [mm.training.SelectEpoch({"x": target})]
    if options:
        model = mm.build_afe(modalities, classes, width=64, **options)
        batches = mm.data.domain_batches(samples(*source), samples(target), 2 * SHARE)
        if options.get("method") != "mmd":
            callbacks.append(mm.training.ReversalSchedule())
    else:
        model = mm.build_mcnn(modalities, classes, width=64)
        batches = samples(*source).batch(SHARE)
    losses = {key: mm.losses.classification() for key in model.output}
    if options.get("method") == "mmd":
        losses["domain"] = mm.losses.MaximumMeanDiscrepancy()
    model.compile("adam", losses, jit_compile=jit_compile())
    model.fit(batches, epochs=epochs, verbose=0, callbacks=callbacks)
    return mm.inference_model(model)


def make_row(name, domains, pairs, make_features, classes, epochs):
    def run(seed):
        figures = {}
        for source_name, target_name in pairs:
            x, y = domains[source_name]
            target_x, target_y = domains[target_name]
            order = np.random.default_rng(seed).permutation(len(target_x))
            train_rows, test_rows = order[: len(order) // 2], order[len(order) // 2 :]
            source_x, unlabelled, test = make_features(x, target_x[train_rows], target_x[test_rows])
            keras.utils.set_random_seed(seed)
            model = train((source_x, y), unlabelled, classes, epochs, **ROWS[name])
            predicted = model.predict({"x": test}, batch_size=500, verbose=0)["label"]
            accuracy = 100 * np.mean(predicted.argmax(axis=1) == target_y[test_rows])
            figures[f"{source_name} → {target_name}, accuracy %"] = accuracy
        figures["mean, accuracy %"] = float(np.mean(list(figures.values())))
        print(name, seed, {key: round(value, 1) for key, value in figures.items()}, flush=True)
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with amazon_reviews/ and office_caltech/.")
    reviews = read_reviews(pathlib.Path(folder, "amazon_reviews"))
    objects = read_objects(pathlib.Path(folder, "office_caltech"))
    sets = {
        "reviews": (reviews, REVIEWS, review_features, 2, options.epochs),
        "objects": (objects, OBJECTS, object_features, 10, 2 * options.epochs),
    }
    for name, (domains, pairs, make_features, classes, epochs) in sets.items():
        runs = {row: make_row(row, domains, pairs, make_features, classes, epochs) for row in ROWS}
        title = {
            "reviews": "Amazon reviews, five pairs of a labelled and an unlabelled domain",
            "objects": "Office-Caltech, SURF features, a target domain without labels",
        }[name]
        report(
            f"afe_{name}",
            repeat(runs, range(options.seeds)),
            title,
            seeds=options.seeds,
            lines=[
                {
                    "system": "build_afe",
                    "data": {
                        "reviews": "Amazon reviews, five pairs",
                        "objects": "Office-Caltech SURF",
                    }[name],
                    "figure": "mean, accuracy %",
                    "row": DANN,
                    "baseline": SOURCE_ONLY,
                    "published": "–",
                }
            ],
            epochs=epochs,
        )


if __name__ == "__main__":
    main()
