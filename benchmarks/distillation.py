"""Distillation across modalities: one modality, taught by all of them together.

    python benchmarks/distillation.py [--data mfeat av_digits] [--seeds 3]

A student that gets one modality is trained twice from the same weights, on the same batches and for
as many epochs: on labels only, and by `mm.compress.distil` with its defaults, temperature 3 and 0.3
of the loss on labels. Figures are those of the test split after the last epoch; nothing was chosen
by them. Seeds change weights, order and, for mfeat, the split.

mfeat: handwritten digits in six feature views, standardised; 20 of each class to train, 100 to
test. The teacher gets all six views, each student one.

av_digits at its default noise: the teacher is the model of the demo (sound and picture, cross-
attention), the student hears the sound alone.
"""

import argparse
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from seeds import repeat, report

import mm_keras as mm
from mm_keras.datasets import av_digits
from mm_keras.experiments.demo import EPOCHS, MODALITIES

CPU = {"jit_compile": mm.training.jit_compile()}
ACCURACY = "accuracy %"


class Pair:
    """A data set with a teacher for each seed, and students.

    Args:
        modalities: `{name: spec}`.
        split: Function of a seed to `(inputs, labels)` for training and for the test.
        epochs: Of every training.
        batch: Samples in a batch.
        passes: Over the data in an epoch.
        rate: Learning rate of Adam.
        student: Options of `build_mcnn` for students.
        teacher: Options for the teacher.
    """

    def __init__(self, modalities, split, epochs, batch, passes, rate, student, teacher):
        self.modalities = modalities
        self.split = split
        self.epochs = epochs
        self.batch = batch
        self.passes = passes
        self.rate = rate
        self.options = {"student": student, "teacher": teacher}
        self.teachers = {}

    def build(self, names, seed, kind):
        keras.utils.set_random_seed(seed)
        modalities = {name: self.modalities[name] for name in names}
        model = mm.build_mcnn(modalities, 10, **self.options[kind])
        loss = mm.losses.classification()
        model.compile(keras.optimizers.Adam(self.rate), loss, metrics=["accuracy"], **CPU)
        return model

    def batches(self, names, seed):
        (inputs, labels), _ = self.split(seed)
        seen = {name: inputs[name] for name in names}
        data = tf.data.Dataset.from_tensor_slices((seen, labels))
        return data.shuffle(len(labels), seed=seed).batch(self.batch).repeat(self.passes)

    def fit(self, model, seed):
        data = self.batches(model.input, seed)
        model.fit(data, epochs=self.epochs, shuffle=False, verbose=0)
        return model

    def measured(self, model, seed):
        _, (inputs, labels) = self.split(seed)
        seen = {name: inputs[name] for name in model.input}
        figures = model.evaluate(seen, labels, verbose=0, return_dict=True)
        return {ACCURACY: 100 * figures["accuracy"], "parameters": model.count_params()}

    def teacher(self, seed):
        self.teachers[seed] = self.fit(self.build(self.modalities, seed, "teacher"), seed)
        return self.measured(self.teachers[seed], seed)

    def alone(self, name):
        return lambda seed: self.measured(self.fit(self.build([name], seed, "student"), seed), seed)

    def taught(self, name):
        def run(seed):
            model = self.build([name], seed, "student")
            data = self.batches(self.modalities, seed)
            mm.compress.distil(model, self.teachers[seed], data, epochs=self.epochs, verbose=0)
            return self.measured(model, seed)

        return run

    def report(self, name, title, students, seeds):
        runs = {"teacher: everything": self.teacher}
        for student in students:
            runs[f"{student} alone, labels only"] = self.alone(student)
            runs[f"{student} alone, distilled"] = self.taught(student)
        rows = repeat(runs, range(seeds))
        gained = {
            student: [
                round(taught - alone, 2)
                for taught, alone in zip(
                    rows[f"{student} alone, distilled"][ACCURACY],
                    rows[f"{student} alone, labels only"][ACCURACY],
                    strict=True,
                )
            ]
            for student in students
        }
        settings = {"epochs": self.epochs * self.passes, "points_gained": gained}
        report(name, rows, title, seeds=seeds, **settings)


def mfeat(seeds):
    with np.load(pathlib.Path(os.environ["MM_KERAS_DATA"]) / "mfeat" / "mfeat.npz") as file:
        views = {name: file[name].astype("float32") for name in file if name != "y"}
        labels = file["y"].astype("int32").ravel()
    views = {name: (x - x.mean(0)) / (x.std(0) + 1e-6) for name, x in views.items()}

    def split(seed):
        rng = np.random.default_rng(seed)
        order = np.stack([rng.permutation(np.flatnonzero(labels == c)) for c in range(10)])
        parts = order[:, :20].ravel(), order[:, 50:].ravel()
        return [({name: x[rows] for name, x in views.items()}, labels[rows]) for rows in parts]

    specs = {name: mm.Features(x.shape[1]) for name, x in views.items()}
    pair = Pair(specs, split, 4, 50, 15, 3e-3, {"width": 32, "hidden": (32,)}, {"width": 32})
    title = "mfeat, 200 digits in six views, test on 1,000"
    pair.report("distillation_mfeat", title, sorted(specs), seeds)


def digits(seeds):
    def arrays(part):
        elements = list(av_digits(part).as_numpy_iterator())
        inputs = {name: np.stack([x[name] for x, _ in elements]) for name in MODALITIES}
        return inputs, np.array([label for _, label in elements])

    parts = arrays("train"), arrays("test")
    fusion = {"fusion": "cross_attention"}
    pair = Pair(MODALITIES, lambda seed: parts, EPOCHS, 32, 1, 1e-3, {}, fusion)
    title = "av_digits at its default noise, test split of 397 pairs"
    pair.report("distillation_av_digits", title, ["audio"], seeds)


RUNS = {"mfeat": mfeat, "av_digits": digits}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name in options.data:
        RUNS[name](options.seeds)


if __name__ == "__main__":
    main()
