"""Ten labels for each class of USPS: from scratch, with transfer from MNIST, trained jointly.

    MM_KERAS_DATA=… python benchmarks/transfer.py [--seeds 5]

Protocol: 100 of USPS' 7,291 training pictures, ten of each digit, drawn anew for each seed, are all
of the target that has labels; the remaining 7,191 test. The source is 4,000 digits of the first
50,000 of MNIST's training part, resized to 16×16. One SmallCNN everywhere, Adam, batches of 64 of
the source and 20 of the target. Nothing is chosen on the test: epochs and rates are the same in
all rows of one kind.

Source: 2 epochs. From scratch, and each stage of the transfer: 40 epochs of the 100 pictures; the
whole network is fine-tuned at a tenth of the rate. Joint: both datasets interleaved, every second
sample from USPS, until MNIST has been seen twice; with one head for both, or a head each.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from av_mnist import read_mnist
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import jit_compile

SHAPE = (16, 16, 1)
PER_CLASS = 10
SOURCE_SAMPLES = 4_000
SOURCE_EPOCHS = 2
TARGET_EPOCHS = 40
RATE = 1e-3


def read_usps(folder):
    """Returns pixels (7291, 16, 16, 1), 0–255, and labels."""
    with np.load(folder / "usps.npz") as file:
        return file["images"][..., None].astype("float32"), file["labels"].astype("int64")


def small_mnist(folder):
    """Returns the first 50,000 digits of MNIST as pixels (50000, 16, 16, 1), and labels."""
    pixels, labels = read_mnist(folder)
    pixels = tf.image.resize(pixels[:50_000].reshape(-1, 28, 28, 1), SHAPE[:2], antialias=True)
    return pixels.numpy(), labels[:50_000].astype("int64")


def draw(mnist, usps, seed):
    """Returns the source, the labelled target and the test part, each (pixels, labels)."""
    rng = np.random.default_rng(seed)
    source = rng.choice(len(mnist[1]), SOURCE_SAMPLES, replace=False)
    by_class = [np.flatnonzero(usps[1] == digit) for digit in range(10)]
    few = np.concatenate([rng.choice(rows, PER_CLASS, replace=False) for rows in by_class])
    rest = np.setdiff1d(np.arange(len(usps[1])), few)
    return [[a[rows] for a in data] for data, rows in ((mnist, source), (usps, few), (usps, rest))]


def build(heads=10, trainable=True):
    image = mm.Image(SHAPE, backbone="SmallCNN", trainable=trainable)
    return mm.build_mcnn({"image": image}, heads)


def fit(model, data, epochs, batch_size, rate=RATE, **options):
    loss = dict.fromkeys(model.output, mm.losses.classification())
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=jit_compile())
    if isinstance(data, tf.data.Dataset):
        model.fit(data.batch(batch_size), epochs=epochs, shuffle=False, verbose=0, **options)
    else:
        pixels, labels = data
        model.fit({"image": pixels}, labels, batch_size, epochs, verbose=0, **options)
    return model


def accuracy(model, data, head="label"):
    pixels, labels = data
    parts = np.array_split(pixels, 10)  # called as it is: tracing for `predict` takes longer
    predicted = np.concatenate([model({"image": part}, training=False)[head] for part in parts])
    return 100 * float(np.mean(np.argmax(predicted, axis=-1) == labels))


def dataset(data, head):
    pixels, labels = data
    samples = tf.data.Dataset.from_tensor_slices(({"image": pixels}, {head: labels}))
    return samples.shuffle(len(labels)).repeat()


def joint(source, target, heads):
    """Trains one model on both datasets at once; `heads` names the source's and the target's."""
    model = build(dict.fromkeys(heads, 10))
    both = mm.data.join_datasets([dataset(source, heads[0]), dataset(target, heads[-1])], model)
    steps = 2 * SOURCE_EPOCHS * SOURCE_SAMPLES // 64
    return fit(model, both, 1, 64, steps_per_epoch=steps)


def run(mnist, usps, seed):
    """Returns `{row: figures}` of one seed."""
    source, target, test = draw(mnist, usps, seed)
    keras.utils.set_random_seed(seed)
    found = {"from scratch": accuracy(fit(build(), target, TARGET_EPOCHS, 20), test)}

    keras.utils.set_random_seed(seed)
    pretrained = fit(build(), source, SOURCE_EPOCHS, 64)
    found["MNIST only, no label of USPS"] = accuracy(pretrained, test)

    model = build(trainable=False)
    mm.transfer_weights(pretrained, model, ["image_backbone"])
    fit(model, target, TARGET_EPOCHS, 20)
    found["transfer, backbone frozen"] = accuracy(model, test)
    model.get_layer("image_backbone").trainable = True
    fit(model, target, TARGET_EPOCHS, 20, RATE / 10)
    found["transfer, frozen, then fine-tuned"] = accuracy(model, test)

    model = build()
    mm.transfer_weights(pretrained, model)  # the classes are the same: the head, too
    found["transfer of all layers, fine-tuned"] = accuracy(
        fit(model, target, TARGET_EPOCHS, 20, RATE / 10), test
    )

    for row, heads in (("joint, one head", ["digit"]), ("joint, a head each", ["mnist", "usps"])):
        keras.utils.set_random_seed(seed)
        found[row] = accuracy(joint(source, target, heads), test, heads[-1])
    return {row: {"accuracy %": value} for row, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/ and usps/: see the head of this file.")
    mnist = small_mnist(pathlib.Path(folder, "mnist"))
    usps = read_usps(pathlib.Path(folder, "usps"))
    per_seed = [run(mnist, usps, seed) for seed in range(options.seeds)]
    rows = repeat(
        {row: lambda seed, row=row: per_seed[seed][row] for row in per_seed[0]},
        range(options.seeds),
    )
    report(
        "transfer",
        rows,
        "USPS with ten labels for each digit, source MNIST, 7,191 test pictures",
        seeds=options.seeds,
        lines=[
            {
                "system": "transfer_weights",
                "data": "MNIST → USPS, ten labels for each digit",
                "figure": "accuracy %",
                "row": "transfer, frozen, then fine-tuned",
                "baseline": "from scratch",
                "published": "–",
            }
        ],
        source_samples=SOURCE_SAMPLES,
        source_epochs=SOURCE_EPOCHS,
        target_epochs=TARGET_EPOCHS,
    )


if __name__ == "__main__":
    main()
