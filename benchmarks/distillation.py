"""Distillation across modalities: sound alone, taught by sound and picture together.

    python benchmarks/distillation.py [--seeds 3] [--epochs 12]

av_digits at its default noise. The teacher is the model of the demo (both modalities,
cross-attention); the student hears the sound alone. It is trained twice from the same weights, on
the same batches and for as many epochs: on labels only, and by `mm.compress.distil` with its
defaults, temperature 3 and 0.3 of the loss on labels. Figures are those of the test split after the
last epoch. The noise of the data is the same in every run; seeds change weights and order.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from seeds import repeat, report

import mm_keras as mm
from mm_keras.datasets import av_digits
from mm_keras.experiments.demo import EPOCHS, MODALITIES

BATCH = 32
CPU = {"jit_compile": mm.training.jit_compile()}


def arrays(split):
    elements = list(av_digits(split).as_numpy_iterator())
    inputs = {name: np.stack([x[name] for x, _ in elements]) for name in MODALITIES}
    return inputs, np.array([label for _, label in elements])


def build(names, seed):
    keras.utils.set_random_seed(seed)
    modalities = {name: MODALITIES[name] for name in names}
    options = {"fusion": "cross_attention"} if len(names) > 1 else {}
    model = mm.build_mcnn(modalities, 10, **options)
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"], **CPU)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    train, (inputs, labels) = arrays("train"), arrays("test")
    teachers = {}

    def batches(seed, names):
        x, y = train
        data = tf.data.Dataset.from_tensor_slices(({name: x[name] for name in names}, y))
        return data.shuffle(len(y), seed=seed).batch(BATCH)

    def measured(model):
        seen = {name: inputs[name] for name in model.input}
        figures = model.evaluate(seen, labels, verbose=0, return_dict=True)
        return {"accuracy %": 100 * figures["accuracy"], "parameters": model.count_params()}

    def teacher(seed):
        teachers[seed] = build(MODALITIES, seed)
        data = batches(seed, MODALITIES)
        teachers[seed].fit(data, epochs=options.epochs, shuffle=False, verbose=0)
        return measured(teachers[seed])

    def alone(seed):
        model = build(["audio"], seed)
        data = batches(seed, ["audio"])
        model.fit(data, epochs=options.epochs, shuffle=False, verbose=0)
        return measured(model)

    def taught(seed):
        model = build(["audio"], seed)
        data = batches(seed, MODALITIES)
        mm.compress.distil(model, teachers[seed], data, epochs=options.epochs, verbose=0)
        return measured(model)

    rows = repeat(
        {
            "teacher: sound and picture": teacher,
            "sound alone, labels only": alone,
            "sound alone, distilled": taught,
        },
        range(options.seeds),
    )
    pairs = zip(
        *(rows[f"sound alone, {row}"]["accuracy %"] for row in ("distilled", "labels only")),
        strict=True,
    )
    report(
        "distillation",
        rows,
        "av_digits at its default noise, test split of 397 pairs",
        seeds=options.seeds,
        epochs=options.epochs,
        points_gained=[round(taught - alone, 2) for taught, alone in pairs],
    )


if __name__ == "__main__":
    main()
