"""A small trained model of three modalities that may be absent, one of which says nothing."""

import functools

import keras
import numpy as np

import mm_keras as mm

CLASSES, WIDTH = 3, 4
NAMES = ("loud", "noise", "quiet")


def samples(count, seed):
    """Returns inputs, some of whose modalities are absent, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    centres = np.eye(CLASSES, WIDTH)
    x = {
        "loud": 2.5 * centres[labels] + rng.normal(size=(count, WIDTH)),
        "quiet": 1.2 * centres[labels] + rng.normal(size=(count, WIDTH)),
        "noise": rng.normal(size=(count, WIDTH)),
    }
    present = {name: rng.uniform(size=(count, 1)) < 0.8 for name in NAMES}
    inputs = {}
    for name in NAMES:
        inputs[name] = np.where(present[name], x[name], 0).astype("float32")
        inputs[f"{name}_present"] = present[name]
    return inputs, labels


@functools.cache
def model():
    """Returns the trained model; do not train it further."""
    keras.utils.set_random_seed(0)
    spec = mm.Features(WIDTH, optional=True)
    built = mm.build_mcnn(
        dict.fromkeys(NAMES, spec), CLASSES, width=16, hidden=(16,), modality_dropout=0.2
    )
    built.compile(
        keras.optimizers.Adam(0.01), {"label": mm.losses.classification()}, jit_compile=False
    )
    inputs, labels = samples(600, 1)
    built.fit(inputs, {"label": labels}, epochs=25, verbose=0)
    return mm.inference_model(built)
