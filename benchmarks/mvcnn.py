"""Views of COIL-20: does accuracy rise with their number, and is a network of views worth it?

    MM_KERAS_DATA=… python benchmarks/mvcnn.py [--seeds 5] [--steps 150]

Protocol: 20 objects, each photographed from 54 angles, 32×32 grey. Every seed draws 2 angles for
training and takes the other 52 for the test, the same angles for all objects. Every picture gets
Gaussian noise with a standard deviation of 30 grey levels, anew each time it is shown. A training
set of views is 12 pictures, drawn from the 2 angles with replacement; a test set is 12 of the 52
angles, without replacement, of which 1, 3 and 6 views are the first. There are 20 test sets for
each object.

All rows see the same pictures in as many steps: 150 steps of 10 sets, 120 pictures, each shown
once. "scores averaged" is the plain CNN on single pictures, whose predictions for the views of a
set are averaged. "two stages" is the paper's recipe: half of the steps for that CNN, half for the
multi-view network that starts from it. "view dropout" drops half of the views in training. Every
network of views is trained with 12 and serves 1, 3 and 6 with the same weights. A step has 120
labels for the plain CNN, one for each picture, and 10 for a network of views.

MM_KERAS_DATA is a folder with `coil20/views.npz`: `image` (object, angle, 32, 32) and `degrees`.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import jit_compile

SHAPE = (32, 32, 1)
OBJECTS = 20
TRAINING_ANGLES = 2
VIEWS = 12
SHOWN = (1, 3, 6, 12)
SETS_A_STEP = 10
TEST_SETS = 20  # of each object
NOISE = 30.0


def degrade(pictures, rng):
    """Returns pictures with noise, as uint8."""
    noisy = pictures + rng.normal(0, NOISE, pictures.shape)
    return np.clip(noisy, 0, 255).astype("uint8")


def make_sets(pictures, labels, rng, *, replace):
    """Returns sets of views, `(n, VIEWS, 32, 32, 1)`, one for each label."""
    angles = pictures.shape[1]
    chosen = np.stack([rng.choice(angles, VIEWS, replace=replace) for _ in labels])
    views = pictures[labels[:, None], chosen].reshape(-1, *SHAPE[:2])
    return degrade(views, rng).reshape(-1, VIEWS, *SHAPE)


def make_splits(pictures, seed, steps):
    """Returns `{split: (sets, labels)}`."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(pictures.shape[1])
    seen, unseen = order[:TRAINING_ANGLES], order[TRAINING_ANGLES:]
    labels = rng.integers(0, OBJECTS, steps * SETS_A_STEP)
    tested = np.repeat(np.arange(OBJECTS), TEST_SETS)
    return {
        "train": (make_sets(pictures[:, seen], labels, rng, replace=True), labels),
        "test": (make_sets(pictures[:, unseen], tested, rng, replace=False), tested),
    }


def train(model, inputs, labels, batch):
    """Shows every sample once."""
    model.compile("adam", mm.losses.classification(), jit_compile=jit_compile())
    model.fit({"views": inputs}, labels, batch_size=batch, shuffle=False, verbose=0)
    return model


def backbone():
    """Three convolutions with stride 2, to a map of 4×4: quick on a CPU."""
    x = inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(x)
    for channels in (16, 32, 64):
        x = keras.layers.Conv2D(channels, 5, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(inputs, x, name="strided")


def shuffled_pictures(sets, labels, seed):
    """Returns the single pictures of all sets, in random order, and their labels."""
    order = np.random.default_rng(seed).permutation(len(labels) * VIEWS)
    return sets.reshape(-1, *SHAPE)[order], np.repeat(labels, VIEWS)[order]


def figures(splits, predict):
    """Returns the accuracy for each number of views; `predict(sets)` gives probabilities."""
    sets, labels = splits["test"]
    return {
        f"accuracy % of {count} view{'s' * (count > 1)}": 100.0
        * float(np.mean(predict(sets[:, :count]).argmax(axis=-1) == labels))
        for count in SHOWN
    }


def averaged_scores(pictures, steps):
    """Returns the row of the plain CNN, whose scores are averaged over the views."""

    def run(seed):
        splits = make_splits(pictures, seed, steps)
        keras.utils.set_random_seed(seed)
        model = mm.build_mcnn({"views": mm.Image(SHAPE, backbone=backbone())}, OBJECTS)
        train(model, *shuffled_pictures(*splits["train"], seed), SETS_A_STEP * VIEWS)

        def predict(sets):
            scores = model.predict({"views": sets.reshape(-1, *SHAPE)}, verbose=0)["label"]
            return scores.reshape(*sets.shape[:2], OBJECTS).mean(axis=1)

        return figures(splits, predict)

    return run


def pooled_views(pictures, steps, *, two_stages=False, **options):
    """Returns the row of a network of views."""

    def run(seed):
        splits = make_splits(pictures, seed, steps)
        keras.utils.set_random_seed(seed)
        sets, labels = splits["train"]
        views = mm.Views(VIEWS, SHAPE, backbone=backbone())
        model = mm.build_mvcnn({"views": views}, OBJECTS, seed=seed, **options)
        if two_stages:
            half = len(labels) // 2
            single, its_labels = shuffled_pictures(sets[:half], labels[:half], seed)
            train(mm.with_views(model, 1), single[:, None], its_labels, SETS_A_STEP * VIEWS)
            sets, labels = sets[half:], labels[half:]
        train(model, sets, labels, SETS_A_STEP)

        def predict(sets):
            some = mm.with_views(model, sets.shape[1])
            return some.predict({"views": sets}, verbose=0)["label"]

        return figures(splits, predict)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with coil20/: see the head of this file.")
    pictures = np.load(pathlib.Path(folder, "coil20", "views.npz"))["image"]
    runs = {
        "single views, scores averaged": averaged_scores(pictures, options.steps),
        "max": pooled_views(pictures, options.steps),
        "mean": pooled_views(pictures, options.steps, view_pooling="mean"),
        "max, two stages": pooled_views(pictures, options.steps, two_stages=True),
        "max, view dropout": pooled_views(pictures, options.steps, view_dropout=0.5),
    }
    report(
        "mvcnn",
        repeat(runs, range(options.seeds)),
        "COIL-20, 2 angles seen, 52 unseen, noise, 400 test sets of 12 views",
        seeds=options.seeds,
        lines=[
            {
                "system": "build_mvcnn",
                "data": "COIL-20, 2 angles seen, noise",
                "figure": "accuracy % of 12 views",
                "row": "max, two stages",
                "baseline": "single views, scores averaged",
                "published": "ModelNet40: 12 views 89.9, single-view CNN 88.6 (Su 2015)",
            }
        ],
        steps=options.steps,
        noise=NOISE,
        training_angles=TRAINING_ANGLES,
    )


if __name__ == "__main__":
    main()
