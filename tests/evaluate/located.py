"""A trained model of digits in a corner of a picture and in a half of a sound."""

import functools

import keras
import numpy as np

import mm_keras as mm
from mm_keras.datasets import av_digits

SIDE, SAMPLES, RATE = 16, 12800, 8000
MODALITIES = {
    "image": mm.Image((SIDE, SIDE, 1), backbone="SmallCNN", optional=True),
    "sound": mm.Audio(
        SAMPLES, RATE, backbone="SmallCNN", mel_bins=16, stride=0.1, window=0.1, optional=True
    ),
}


def samples(split, count, seed):
    """Returns inputs, labels, and where the digits are: `(n, 2)` corners and `(n,)` halves."""
    rng = np.random.default_rng(seed)
    pairs = av_digits(split, image_noise=0.0, audio_snr_db=None).shuffle(1000, seed).take(count)
    given, labels = next(iter(pairs.batch(count)))
    pictures, voices = (given[name].numpy() for name in ("image", "audio"))
    corners, halves = rng.integers(2, size=(len(labels), 2)), rng.integers(2, size=len(labels))
    image = rng.uniform(0, 60, (len(labels), SIDE, SIDE, 1)).astype("float32")
    sound = rng.normal(0, 0.003, (len(labels), SAMPLES)).astype("float32")
    for row, (top, left) in enumerate(corners * SIDE // 2):
        image[row, top : top + 8, left : left + 8] += pictures[row] * (195 / 255)
        start = halves[row] * SAMPLES // 2
        sound[row, start : start + voices.shape[1]] += voices[row]
    here = np.ones((len(labels), 1), "bool")
    inputs = {"image": image, "sound": sound, "image_present": here, "sound_present": here}
    return inputs, labels.numpy(), corners, halves


@functools.cache
def model():
    """Returns the trained model; do not train it further."""
    keras.utils.set_random_seed(0)
    built = mm.build_mcnn(MODALITIES, 10, width=32, modality_dropout=0.4)
    built.compile(
        keras.optimizers.Adam(3e-3),
        {"label": mm.losses.classification()},
        metrics=["accuracy"],
        jit_compile=False,
    )
    inputs, labels, *_ = samples("train", 700, 1)
    built.fit(inputs, labels, batch_size=40, epochs=4, verbose=0)
    return mm.inference_model(built)


def mass_in_corners(heat):
    """Returns `(n, 2, 2)`: the share of `|heat|`, `(n, H, W)`, in each quarter of the picture."""
    quarters = np.abs(heat).reshape(len(heat), 2, SIDE // 2, 2, SIDE // 2).sum(axis=(2, 4))
    return quarters / np.maximum(quarters.sum(axis=(1, 2), keepdims=True), 1e-9)


def mass_in_halves(heat):
    """Returns `(n, 2)`: the share of `|heat|`, `(n, T, mel)`, in each half of the time."""
    half, heat = heat.shape[1] // 2, np.abs(heat)
    halves = np.stack([heat[:, :half].sum(axis=(1, 2)), heat[:, -half:].sum(axis=(1, 2))], axis=1)
    return halves / np.maximum(halves.sum(axis=1, keepdims=True), 1e-9)
