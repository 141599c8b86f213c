"""The image layers of Keras keep to the sample's seed on another backend too."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import keras, numpy as np, tensorflow as tf
import mm_keras as mm

pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype("uint8")
data = tf.data.Dataset.from_tensor_slices(({"x": pictures}, np.arange(6)))
layers = [keras.layers.RandomFlip(), keras.layers.RandomContrast(0.5)]

def run(parallel, seed=0):
    steps = {"x": layers}
    augmented = mm.data.augment(data, steps, seed=seed, num_parallel_calls=parallel)
    return np.stack([element[0]["x"].numpy() for element in augmented])

print(keras.backend.backend(), (run(1) == run(4)).all(), (run(1) != run(1, seed=1)).any())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_keras_layers_on(backend):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.stdout.split() == [backend, "True", "True"]
