"""Mutual learning: students that learn from each other, against the same students on their own.

    MM_KERAS_DATA=… python benchmarks/dml.py [--seeds 5]

Rows come in pairs with the same initial weights, batches and number of steps, seed by seed: the
weight of the mutual term is 0 ("alone"), or it is 0 for 3 epochs and rises to 1 over the next 6
("mutual"). Adam at 0.001, 20 epochs in batches of 64, temperature 3. The temperature was chosen out
of 1 and 3 on a seed that is not reported. Where only some samples have a label the others have the
sample weight 0: students learn nothing from them alone, and each other's predictions together.

`dml`: three peers on MNIST digits, each an MLP of 128 and 128. 2,000 digits of the first 50,000 of
MNIST's training part train, all of them or 500 with a label; its last 10,000 test. Pixels are
averaged to 14×14. The "best student" is the best on the test: what choosing could give at most.

`dml_modalities`: a student that sees the picture of a fashion product (an MLP on 16×16 pixels),
another that reads its title (8 words), which is the stronger one: titles tell the class, often in
so many words. The sub-categories of 150 products or more, 150 of each drawn for each seed; a fifth
tests, split by the title's first three words so that no variant of a product is on both sides.
All others train, all or 10 of each class with a label.
"""

import argparse
import collections
import csv
import io
import os
import pathlib
import sys
import zipfile

import keras
import numpy as np
from av_mnist import read_mnist
from PIL import Image
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import MutualRampUp, jit_compile, student_losses

PEERS = 3
PER_CLASS = 150
OPTIONS = {"temperature": 3.0, "hidden": (128,)}
RATE = 1e-3
EPOCHS = 20
RAMP = (3, 6)


def digits(mnist, seed, labelled):
    """Returns `{part: (inputs, labels)}` of MNIST, and which training digits have a label."""
    pixels, labels = mnist
    rng = np.random.default_rng(seed)
    rows = {"train": rng.choice(50_000, 2000, replace=False), "test": np.arange(50_000, 60_000)}
    has_label = np.arange(2000) < labelled
    return {part: ({"image": pixels[r]}, labels[r]) for part, r in rows.items()}, has_label


def small_mnist(folder):
    """Returns MNIST averaged to 14×14, as vectors of mean 0 and deviation 1, and labels."""
    pixels, labels = read_mnist(folder)
    vectors = pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196)
    train = vectors[:50_000]
    return (vectors - train.mean()) / train.std(), labels.astype("int64")


def read_photos(folder):
    """Returns pictures (n, 64, 64, 3) and rows of the table, of classes with enough products."""
    with open(folder / "products.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = collections.Counter(row["subCategory"] for row in rows)
    rows = [row for row in rows if counts[row["subCategory"]] >= PER_CLASS]
    with zipfile.ZipFile(folder / "images.zip") as archive:
        photos = [Image.open(io.BytesIO(archive.read(row["image"]))) for row in rows]
    return np.stack([np.asarray(photo.convert("RGB")) for photo in photos]), rows


def read_products(folder):
    """Returns pictures averaged to 16×16, as vectors, and rows of the table, of the classes."""
    photos, rows = read_photos(folder)
    pixels = np.stack([np.asarray(Image.fromarray(photo).reduce(4)) for photo in photos])
    return pixels.reshape(len(rows), -1).astype("float32") / 127.5 - 1, rows


def products(table, seed, labelled):
    """Returns `{part: (inputs, labels)}` of products, which have a label, and the titles' spec."""
    pixels, rows = table
    rng = np.random.default_rng(seed)
    names = np.array([row["subCategory"] for row in rows])
    by_class = [np.flatnonzero(names == name) for name in sorted(set(names))]
    kept = np.concatenate([rng.choice(found, PER_CLASS, replace=False) for found in by_class])
    labels = np.repeat(np.arange(len(by_class)), PER_CLASS)
    words = [rows[row]["title"].lower().split() for row in kept]
    groups = np.array([" ".join(title[:3]) for title in words])
    distinct = rng.permutation(sorted(set(groups)))
    tests = np.isin(groups, distinct[: len(distinct) // 5])
    titles = [" ".join(title) for title in words]
    title = mm.Text(8, 1000).adapt([titles[row] for row in np.flatnonzero(~tests)])
    inputs = {"image": pixels[kept], "title": title.vectorize(titles)}
    parts = {
        part: ({name: x[chosen] for name, x in inputs.items()}, labels[chosen])
        for part, chosen in (("train", ~tests), ("test", tests))
    }
    train = parts["train"][1]
    first = [np.flatnonzero(train == label)[:labelled] for label in range(len(by_class))]
    return parts, np.isin(np.arange(len(train)), np.concatenate(first)), title


def train_and_test(modalities, classes, parts, has_label, seed, mutual_weight, **options):
    """Returns `{output: accuracy in %}`."""
    keras.utils.set_random_seed(seed)
    model = mm.build_dml(modalities, classes, mutual_weight=mutual_weight, **OPTIONS, **options)
    losses = student_losses(model)
    model.compile(keras.optimizers.Adam(RATE), losses, jit_compile=jit_compile())
    inputs, labels = parts["train"]
    weights = has_label / has_label.mean()  # without a label: the mutual term alone
    model.fit(
        inputs,
        dict.fromkeys(losses, labels),
        batch_size=64,
        epochs=EPOCHS,
        sample_weight=dict.fromkeys(losses, weights),
        callbacks=[MutualRampUp(*RAMP)],
        verbose=0,
    )
    inputs, labels = parts["test"]
    predictions = model(inputs, training=False)  # as it is: tracing for `predict` takes longer
    return {k: 100 * float(np.mean(np.argmax(p, -1) == labels)) for k, p in predictions.items()}


def rows_of(prepare, train, amounts):
    """Returns the rows: alone and mutual, with each number of labels."""

    def row(labelled, mutual_weight):
        def run(seed):
            found = train(*prepare(seed, labelled), seed, mutual_weight)
            return {f"{output}, accuracy %": value for output, value in found.items()}

        return run

    return {
        f"{kind}, {text}": row(labelled, mutual_weight)
        for text, labelled in amounts.items()
        for kind, mutual_weight in (("alone", 0.0), ("mutual", 1.0))
    }


def train_peers(parts, has_label, seed, mutual_weight):
    """Returns the accuracy of the mean peer, the best one and the ensemble."""
    found = train_and_test(
        {"image": mm.Features(196)}, 10, parts, has_label, seed, mutual_weight, peers=PEERS
    )
    ensemble = found.pop("label")
    students = list(found.values())
    return {"mean student": np.mean(students), "best student": max(students), "ensemble": ensemble}


def train_modalities(parts, has_label, title, seed, mutual_weight):
    """Returns the accuracy of the student of each modality and of the ensemble."""
    modalities = {"image": mm.Features(768), "title": title}
    classes = int(parts["train"][1].max()) + 1
    found = train_and_test(modalities, classes, parts, has_label, seed, mutual_weight)
    return {"image": found["image"], "title": found["title"], "ensemble": found["label"]}


def gains(rows, figure):
    """Returns what mutual learning adds, in points, seed by seed."""
    return {
        name.removeprefix("mutual, "): [
            round(mutual - alone, 2)
            for mutual, alone in zip(
                row[figure], rows[name.replace("mutual", "alone")][figure], strict=True
            )
        ]
        for name, row in rows.items()
        if name.startswith("mutual")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if not os.environ.get("MM_KERAS_DATA"):
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/ and fashion_products/.")
    folder = pathlib.Path(os.environ["MM_KERAS_DATA"])
    settings = {"epochs": EPOCHS, "learning_rate": RATE, "ramp": RAMP, **OPTIONS}

    mnist = small_mnist(folder / "mnist")
    amounts = {"2,000 labels": 2000, "500 labels": 500}
    runs = rows_of(lambda seed, labelled: digits(mnist, seed, labelled), train_peers, amounts)
    rows = repeat(runs, range(options.seeds))
    report(
        "dml",
        rows,
        "MNIST, three peers (MLPs) on 2,000 digits, 10,000 test digits",
        seeds=options.seeds,
        lines=[
            {
                "system": "build_dml",
                "data": "MNIST, 2,000 digits, three small MLPs",
                "figure": "mean student, accuracy %",
                "row": "mutual, 2,000 labels",
                "baseline": "alone, 2,000 labels",
                "published": "CIFAR-100, ResNet-32: 68.99 → 71.19 (Zhang 2018)",
            }
        ],
        points_gained_by_the_mean_student=gains(rows, "mean student, accuracy %"),
        **settings,
    )

    table = read_products(folder / "fashion_products")
    amounts = {"all labels": PER_CLASS, "10 labels a class": 10}
    runs = rows_of(
        lambda seed, labelled: products(table, seed, labelled), train_modalities, amounts
    )
    rows = repeat(runs, range(options.seeds))
    report(
        "dml_modalities",
        rows,
        "Fashion products, a student for the picture, another for the title",
        seeds=options.seeds,
        lines=[
            {
                "system": "build_dml",
                "data": "fashion products, 10 labels a class; the picture's student",
                "figure": "image, accuracy %",
                "row": "mutual, 10 labels a class",
                "baseline": "alone, 10 labels a class",
                "published": "–",
            }
        ],
        points_gained_by_the_picture=gains(rows, "image, accuracy %"),
        **settings,
    )


if __name__ == "__main__":
    main()
