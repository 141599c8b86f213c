"""A frozen MobileNetV2 at 96×96: an epoch of the full model beside one on cached features.

    MM_KERAS_DATA=… python benchmarks/feature_cache.py [--seeds 3] [--samples 1024]

Protocol: the first photos of fashion_products (64×64, enlarged to 96×96) with the first two words
of their titles, the four largest classes of `usage`. MobileNetV2 is frozen; its random weights cost
what trained ones do. Both models train for 3 epochs of batches of 32 from memory, the first not
timed; the cached one starts from the same weights, reads features from disk, and its losses are
compared with the full one's. Times are processor seconds on one core, which other programs on the
machine don't change. `first pass` is what computing and writing the cache takes, `check`
what finding it valid takes later.

MM_KERAS_DATA is a folder with `fashion_products/` (images.zip, products.csv).
"""

import argparse
import collections
import csv
import os
import pathlib
import statistics
import sys
import tempfile
import time
import zipfile

import keras
import numpy as np
import tensorflow as tf
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import jit_compile

EPOCHS = 3
BATCH = 32
CLASSES = 4


class EpochTimes(keras.callbacks.Callback):
    """Seconds of processor time of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.process_time() - self.start)


def read_products(folder, count):
    """Returns images (n, 96, 96, 3), titles and classes."""
    with open(folder / "products.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    common = [u for u, _ in collections.Counter(row["usage"] for row in rows).most_common(CLASSES)]
    rows = [row for row in rows if row["usage"] in common][:count]
    with zipfile.ZipFile(folder / "images.zip") as zipped:
        members = {pathlib.PurePath(name).name: name for name in zipped.namelist()}
        photos = [tf.io.decode_jpeg(zipped.read(members[row["image"]]), channels=3) for row in rows]
    images = np.stack([tf.image.resize(photo, (96, 96)).numpy() for photo in photos])
    titles = [" ".join(row["title"].split()[:2]) for row in rows]
    return images.astype("float32"), titles, np.array([common.index(row["usage"]) for row in rows])


def train(model, data):
    """Returns seconds an epoch after the first, and the losses."""
    model.compile("adam", mm.losses.classification(), jit_compile=jit_compile())
    times = EpochTimes()
    history = model.fit(data, epochs=EPOCHS, verbose=0, callbacks=[times])
    return statistics.mean(times.seconds[1:]), np.array(history.history["loss"])


def run(products):
    images, titles, labels = products
    text = mm.Text(2, 500).adapt(titles)
    inputs = {"image": images, "text": text.vectorize(titles)}
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(BATCH)

    def measure(seed):
        keras.utils.set_random_seed(seed)
        image = mm.Image((96, 96, 3), backbone="MobileNetV2", weights=None, trainable=False)
        model = mm.build_mcnn({"image": image, "text": text}, CLASSES)
        start = [weight.numpy() for weight in model.trainable_weights]
        with tempfile.TemporaryDirectory() as folder:
            seconds = []
            for _ in range(2):
                began = time.process_time()
                features, rest = mm.data.cache_features(model, data, f"{folder}/cache")
                seconds.append(time.process_time() - began)
            cached, cached_losses = train(rest, features)
        for weight, value in zip(model.trainable_weights, start, strict=True):
            weight.assign(value)
        full, losses = train(model, data)
        figures = {
            "full, CPU s/epoch": full,
            "cached, CPU s/epoch": cached,
            "ratio": full / cached,
            "first pass, CPU s": seconds[0],
            "check, CPU s": seconds[1],
            "loss difference": float(np.abs(cached_losses - losses).max()),
        }
        print(seed, figures, flush=True)
        return figures

    return measure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1024)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with fashion_products/: see the head of this file.")
    products = read_products(pathlib.Path(folder, "fashion_products"), options.samples)
    report(
        "feature_cache",
        repeat({"MobileNetV2, 96×96": run(products)}, range(options.seeds)),
        f"A frozen backbone's features cached, {len(products[2]):,} photos with titles, one core",
        seeds=options.seeds,
        epochs=EPOCHS,
        batch=BATCH,
    )


if __name__ == "__main__":
    main()
