"""Training that keeps modalities honest: what an easy modality leaves to a hard one.

    MM_KERAS_DATA=… python benchmarks/honest.py [--seeds 3] [--epochs 6]

Protocol: AV-MNIST as in av_mnist.py, unlike there with whole images (the easy modality) and babble
at 0 dB (the hard one); two of six speakers are heard in the test only; 2,400 pairs train, 2,000
test, drawn anew for each seed. All rows are the same network, `build_mcnn` with concatenation,
trained with Adam for the same number of steps; no row was tuned. "alone" is what the encoder of a
modality has learnt: a logistic regression on its pooled features, fitted on the training pairs.

OGM's auxiliary heads have losses of the weight 0.001: they observe, and don't teach. GE adds noise
to the gradients that are held back.

MM_KERAS_DATA is the folder that av_mnist.py reads.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
from av_mnist import SPECS, make_splits, read_fsdd, read_mnist
from seeds import repeat, report
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mm_keras as mm
from mm_keras.training import ModalityRates, jit_compile

SNR_DB = 0.0
PAIRS = {"train": 2400, "validation": 100, "test": 2000}
ALPHA = 0.5
RATE = 0.1
DROPOUT = 0.3
WIDTH = 64
OBSERVE = 1e-3


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
        f"image at {RATE} × the rate": (dict, 1.0, lambda: [ModalityRates({"image": RATE})]),
        f"modality dropout {DROPOUT}": (lambda: {"modality_dropout": DROPOUT}, 1.0, list),
    }


def probe(model, name, splits):
    """Returns the test accuracy of a logistic regression on a modality's pooled features."""
    features = model.get_layer(f"{name}_features").output
    encoder = keras.Model(model.input, features)
    parts = {}
    for split in ("train", "test"):
        inputs, labels = splits[split]
        found = encoder.predict({n: inputs[n] for n in model.input}, batch_size=200, verbose=0)
        parts[split] = found.mean(axis=1), labels
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return 100 * classifier.fit(*parts["train"]).score(*parts["test"])


def row(data, epochs, names, options, auxiliary_weight, callbacks):
    """Returns the function of a seed to the figures of a row."""

    def run(seed):
        splits = make_splits(*data, seed, components=None, snr_db=SNR_DB, pairs=PAIRS)
        keras.utils.set_random_seed(seed)
        model = mm.build_mcnn({n: SPECS[n] for n in names}, 10, width=WIDTH, **options())
        weights = {o: 1.0 if o == "label" else auxiliary_weight for o in model.output}
        losses = dict.fromkeys(model.output, mm.losses.classification())
        model.compile("adam", losses, loss_weights=weights, jit_compile=jit_compile())
        inputs, labels = splits["train"]
        model.fit(
            {n: inputs[n] for n in names},
            dict.fromkeys(model.output, labels),
            batch_size=50,
            epochs=epochs,
            callbacks=callbacks(),
            verbose=0,
        )
        inputs, labels = splits["test"]
        shipped = mm.inference_model(model)
        found = shipped.predict({n: inputs[n] for n in names}, batch_size=200, verbose=0)["label"]
        figures = {"accuracy %": 100 * float(np.mean(found.argmax(axis=1) == labels))}
        for name in names:
            figures[f"{name} alone, accuracy %"] = probe(model, name, splits)
        print(names, seed, figures, flush=True)
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/ and fsdd/: see av_mnist.py.")
    data = read_mnist(pathlib.Path(folder, "mnist")), read_fsdd(pathlib.Path(folder, "fsdd"))
    rows = {
        f"{name} only": row(data, options.epochs, (name,), dict, 1.0, list)
        for name in ("audio", "image")
    }
    for name, method in methods().items():
        rows[name] = row(data, options.epochs, ("audio", "image"), *method)
    report(
        "honest",
        repeat(rows, range(options.seeds)),
        "AV-MNIST with whole images and babble at 0 dB, two speakers held out, 2,000 test pairs",
        seeds=options.seeds,
        epochs=options.epochs,
        snr_db=SNR_DB,
        pairs=PAIRS["train"],
        width=WIDTH,
        observing_weight=OBSERVE,
    )


if __name__ == "__main__":
    main()
