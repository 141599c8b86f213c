"""Training that keeps modalities honest: what an easy modality leaves to a hard one.

    MM_KERAS_DATA=… python benchmarks/honest.py [--seeds 3] [--epochs 20]

Protocol: mfeat, digits described by pixel averages (240 numbers, the easy modality) and by Fourier
coefficients of their outline (76, the hard one); 1,000 train, 500 test, stratified, drawn anew for
each seed; standardised by the training part. All rows are the same network, `build_mcnn` with 16
features a modality and concatenation, trained with Adam for the same number of steps; no row was
tuned. "alone" is what the encoder of a modality has learnt: a logistic regression on its features,
fitted on the training part.

OGM's auxiliary heads have losses of the weight 0.001: they observe, and don't teach. GE adds noise
to the gradients that are held back.

MM_KERAS_DATA is a folder with `mfeat/mfeat.npz`.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
from seeds import repeat, report
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import mm_keras as mm
from mm_keras.training import ModalityRates, jit_compile

NAMES = ("fou", "pix")  # the hard one, the easy one
TEST = 500
WIDTH = 16
ALPHA = 0.5
RATE = 0.1
DROPOUT = 0.3
OBSERVE = 1e-3


def splits_of(arrays, labels, seed):
    """Returns `{split: ({modality: array}, labels)}`."""
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=TEST, stratify=labels, random_state=seed)
    scaled = {}
    for name, values in arrays.items():
        mean, std = values[train].mean(axis=0), values[train].std(axis=0)
        scaled[name] = ((values - mean) / np.maximum(std, 1e-6)).astype("float32")
    return {
        split: ({name: values[part] for name, values in scaled.items()}, labels[part])
        for split, part in (("train", train), ("test", test))
    }


def ogm(noise=False):
    """Returns options of the builder."""
    layer = mm.layers.GradientModulation(ALPHA, noise=noise, seed=0, name="gradient_modulation")
    return {"auxiliary_heads": True, "gradient_modulation": layer}


def methods():
    """Returns `{row: (options of the builder, weight of auxiliary losses, callbacks)}`."""
    return {
        "plain": (dict, 1.0, list),
        "auxiliary heads": (lambda: {"auxiliary_heads": True}, 1.0, list),
        f"OGM, α = {ALPHA}": (ogm, OBSERVE, list),
        f"OGM-GE, α = {ALPHA}": (lambda: ogm(noise=True), OBSERVE, list),
        "auxiliary heads and OGM": (ogm, 1.0, list),
        f"pix at {RATE} × the rate": (dict, 1.0, lambda: [ModalityRates({"pix": RATE})]),
        f"modality dropout {DROPOUT}": (lambda: {"modality_dropout": DROPOUT}, 1.0, list),
    }


def probe(model, name, splits):
    """Returns the test accuracy of a logistic regression on a modality's features."""
    encoder = keras.Model(model.input, model.get_layer(f"{name}_features").output)
    parts = []
    for inputs, labels in (splits["train"], splits["test"]):
        found = np.asarray(encoder({n: inputs[n] for n in model.input}))
        parts.append((found.mean(axis=1), labels))
    classifier = LogisticRegression(max_iter=1000).fit(*parts[0])
    return 100 * classifier.score(*parts[1])


def row(arrays, labels, epochs, names, options, auxiliary_weight, callbacks):
    """Returns the function of a seed to the figures of a row."""

    def run(seed):
        splits = splits_of({name: arrays[name] for name in names}, labels, seed)
        keras.utils.set_random_seed(seed)
        specs = {name: mm.Features(arrays[name].shape[1]) for name in names}
        model = mm.build_mcnn(specs, 10, width=WIDTH, **options())
        model.compile(
            "adam",
            dict.fromkeys(model.output, mm.losses.classification()),
            loss_weights={o: 1.0 if o == "label" else auxiliary_weight for o in model.output},
            jit_compile=jit_compile(),
        )
        inputs, true = splits["train"]
        model.fit(
            inputs,
            dict.fromkeys(model.output, true),
            batch_size=50,
            epochs=epochs,
            callbacks=callbacks(),
            verbose=0,
        )
        inputs, true = splits["test"]
        found = np.asarray(mm.inference_model(model)(inputs)["label"])
        figures = {"accuracy %": 100 * float(np.mean(found.argmax(axis=1) == true))}
        for name in names:
            figures[f"{name} alone, accuracy %"] = probe(model, name, splits)
        print(names, seed, figures, flush=True)
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    if not os.environ.get("MM_KERAS_DATA"):
        sys.exit("Set MM_KERAS_DATA to a folder with mfeat/mfeat.npz.")
    with np.load(pathlib.Path(os.environ["MM_KERAS_DATA"], "mfeat", "mfeat.npz")) as file:
        arrays = {name: file[name].astype("float32") for name in NAMES}
        labels = file["y"].astype("int64")
    rows = {
        f"{name} only": row(arrays, labels, options.epochs, (name,), dict, 1.0, list)
        for name in NAMES
    }
    for name, method in methods().items():
        rows[name] = row(arrays, labels, options.epochs, NAMES, *method)
    report(
        "honest",
        repeat(rows, range(options.seeds)),
        "mfeat, Fourier coefficients (hard) and pixel averages (easy), 500 test digits",
        seeds=options.seeds,
        epochs=options.epochs,
        width=WIDTH,
        observing_weight=OBSERVE,
    )


if __name__ == "__main__":
    main()
