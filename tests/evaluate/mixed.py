"""A small model with a modality of every kind, some of which may be absent."""

import functools

import keras
import numpy as np

import mm_keras as mm

MODALITIES = {
    "f": mm.Features((3, 5)),
    "image": mm.Image((12, 8, 1), backbone="SmallCNN", optional=True),
    "sound": mm.Audio(2000, 8000, mel_bins=16, optional=True),
    "table": mm.Tabular(
        numeric=("x", "y"),
        categorical={"c": ("u", "v"), "d": ("p", "q")},
        wide=(("c", "d"),),
        wide_buckets=7,
        mean=(1.0, 2.0),
        variance=(1.0, 4.0),
        optional=True,
    ),
    "text": mm.Text(6, 20, backbone="Conv1D", embedding=8, optional=True),
    "video": mm.Video(4, (8, 8, 1), backbone="SmallCNN"),
    "views": mm.Views(3, (8, 8, 1), backbone="SmallCNN", optional_views=True),
}


def samples(count=5):
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 20, (count, 6))
    ids[:, 4:] = 0  # padding
    columns = [rng.normal(size=count), rng.normal(size=count)]
    columns += [rng.integers(0, 3, count), rng.integers(0, 3, count), rng.integers(0, 7, count)]
    inputs = {
        "f": rng.normal(size=(count, 3, 5)),
        "image": rng.uniform(0, 255, (count, 12, 8, 1)),
        "sound": 0.1 * rng.normal(size=(count, 2000)),
        "table": np.stack(columns, axis=1),
        "text": ids,
        "video": rng.uniform(0, 255, (count, 4, 8, 8, 1)),
        "views": rng.uniform(0, 255, (count, 3, 8, 8, 1)),
    }
    absent = {"image": 4, "sound": 2, "table": 0, "text": 1}
    for name, row in absent.items():
        inputs[name + "_present"] = np.arange(count)[:, None] != row
    inputs["views_present"] = np.array([[1, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]) > 0
    return {name: x.astype("float32") if x.dtype == "float64" else x for name, x in inputs.items()}


INPUTS = samples()


@functools.cache
def mixed_model():
    """Returns the model, with weights that are no longer as they start; train it no further."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(2)
    model = mm.build_mcnn(MODALITIES, 3, width=16)
    model.set_weights(
        [w + 0.1 * rng.normal(size=w.shape) if w.ndim else w for w in model.get_weights()]
    )
    return model
