"""AV-MNIST, small and speaker-disjoint: MNIST digits with the same digit spoken (FSDD), degraded.

    MM_KERAS_DATA=… python benchmarks/av_mnist.py [--seeds 3] [--epochs 8]

Protocol: images are the first 50,000 (training) and last 10,000 (test) of MNIST's training part,
projected on their 4 leading principal components. Sound is FSDD at 8 kHz, cut or zero-padded to one
second, with babble of six other recordings of the same split at −6 dB. Two of FSDD's six speakers
are heard in the test only. 3,600 pairs train, 400 validate, 2,000 test; each pairs an image with a
recording of the same digit. The pairs are drawn anew for each seed. AV-MNIST circulates in several
forms: compare within this table only.

MM_KERAS_DATA is a folder with `mnist/` (the two gzipped idx files of the training part) and `fsdd/`
(WAV files named digit_speaker_take.wav, or a zip of them), as their authors give them.
"""

import argparse
import gzip
import io
import os
import pathlib
import sys
import zipfile

import keras
import numpy as np
import tensorflow as tf
from scipy.io import wavfile
from seeds import figures_of, repeat, report
from sklearn.decomposition import PCA

import mm_keras as mm
from mm_keras.experiments.run import train_and_measure
from mm_keras.training import jit_compile

SAMPLES = RATE = 8000
COMPONENTS = 4
SNR_DB = -6.0
TALKERS = 6
TEST_SPEAKERS = ("theo", "yweweler")
PAIRS = {"train": 3600, "validation": 400, "test": 2000}
FUSIONS = ("concat", "gated", "low_rank")
SPECS = {
    "image": mm.Image((28, 28, 1), backbone="SmallCNN"),
    "audio": mm.Audio(SAMPLES, RATE, backbone="SmallCNN", mel_bins=32, window=0.032, stride=0.032),
}


def read_mnist(folder):
    """Returns pixels (60000, 784) and labels, in MNIST's order."""
    arrays = {}
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        (path,) = folder.glob(f"*{kind}*")
        with gzip.open(path) as file:
            arrays[kind] = np.frombuffer(file.read(), "uint8", offset=header)
    return arrays["images-idx3"].reshape(-1, 784).astype("float32"), arrays["labels-idx1"]


def read_fsdd(folder):
    """Returns waveforms (n, SAMPLES) in −1…1, digits and speakers, of WAV files or a zip."""
    files = {path.stem: path.read_bytes() for path in folder.rglob("*.wav")}
    for archive in folder.glob("*.zip"):
        with zipfile.ZipFile(archive) as zipped:
            names = [name for name in zipped.namelist() if name.endswith(".wav")]
            files |= {pathlib.Path(name).stem: zipped.read(name) for name in names}
    waves, digits, speakers = [], [], []
    for stem, content in sorted(files.items()):
        digit, speaker, _ = stem.split("_")
        rate, wave = wavfile.read(io.BytesIO(content))
        if rate != RATE:
            raise ValueError(f"{stem}.wav must have {RATE} Hz. Received: {rate} Hz.")
        wave = wave[:SAMPLES].astype("float32") / 32768
        waves.append(np.pad(wave, (0, SAMPLES - len(wave))))
        digits.append(int(digit))
        speakers.append(speaker)
    return np.stack(waves), np.array(digits), np.array(speakers)


def add_babble(waves, voices, rng, snr_db=SNR_DB):
    """Adds TALKERS of `voices`, each rotated in time, at snr_db; keeps the sum within −1…1."""
    noisy = np.empty_like(waves)
    for index, wave in enumerate(waves):
        chosen = voices[rng.integers(len(voices), size=TALKERS)]
        noise = sum(np.roll(voice, rng.integers(SAMPLES)) for voice in chosen)
        gain = np.sqrt(np.mean(wave**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
        mixed = wave + gain * noise
        noisy[index] = mixed / max(1.0, np.abs(mixed).max())
    return noisy


def make_splits(mnist, fsdd, seed, components=COMPONENTS, snr_db=SNR_DB, pairs=PAIRS):
    """Returns `{split: ({"image", "audio"}, labels)}`; images as they are without `components`."""
    rng = np.random.default_rng(seed)
    pixels, labels = mnist
    waves, digits, speakers = fsdd
    if components:
        pca = PCA(components, random_state=0).fit(pixels[:50_000])
        print(f"{components} components: {pca.explained_variance_ratio_.sum():.1%} of the variance")
    held_out = np.isin(speakers, TEST_SPEAKERS)
    takes = np.arange(len(waves)) % 10  # one in ten recordings of the others validates
    parts = {
        "train": (np.arange(0, 45_000), ~held_out & (takes != 0)),
        "validation": (np.arange(45_000, 50_000), ~held_out & (takes == 0)),
        "test": (np.arange(50_000, 60_000), held_out),
    }
    splits = {}
    for split, (rows, spoken) in parts.items():
        rows = rng.choice(rows, pairs[split], replace=False)
        by_digit = [np.flatnonzero(spoken & (digits == digit)) for digit in range(10)]
        clips = np.array([rng.choice(by_digit[label]) for label in labels[rows]])
        image = pixels[rows]
        if components:
            image = np.clip(pca.inverse_transform(pca.transform(image)), 0, 255)
        audio = add_babble(waves[clips], waves[spoken], rng, snr_db)
        inputs = {"image": image.reshape(-1, 28, 28, 1).astype("float32"), "audio": audio}
        splits[split] = (inputs, labels[rows].astype("int64"))
    return splits


def row(mnist, fsdd, names, epochs, **options):
    def run(seed):
        splits = make_splits(mnist, fsdd, seed)
        keras.utils.set_random_seed(seed)
        model = mm.build_mcnn({name: SPECS[name] for name in names}, 10, **options)
        model.compile(
            "adam", mm.losses.classification(), metrics=["accuracy"], jit_compile=jit_compile()
        )

        def batches(split):
            inputs, labels = splits[split]
            data = tf.data.Dataset.from_tensor_slices(({n: inputs[n] for n in names}, labels))
            return (data.shuffle(10_000, seed=seed) if split == "train" else data).batch(64)

        name = f"{'+'.join(names)} {options} seed {seed}"
        splits_of = map(batches, ("train", "validation", "test"))
        return figures_of(train_and_measure(model, *splits_of, epochs=epochs, name=name))

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/ and fsdd/: see the head of this file.")
    data = read_mnist(pathlib.Path(folder, "mnist")), read_fsdd(pathlib.Path(folder, "fsdd"))
    both = ("audio", "image")
    runs = {
        "image only": row(*data, ("image",), options.epochs),
        "audio only": row(*data, ("audio",), options.epochs),
        **{f"both, {f}": row(*data, both, options.epochs, fusion=f) for f in FUSIONS},
    }
    report(
        "av_mnist",
        repeat(runs, range(options.seeds)),
        "AV-MNIST, degraded, two speakers held out, 2,000 test pairs",
        seeds=options.seeds,
        lines=[
            {
                "system": "build_mcnn",
                "data": "AV-MNIST, degraded, unseen speakers",
                "figure": "accuracy %",
                "row": "both, concat",
                "baseline": "image only",
                "published": "forms differ: MultiBench's, late fusion 71.7 (Liang 2021)",
            }
        ],
        epochs=options.epochs,
        snr_db=SNR_DB,
        components=COMPONENTS,
        test_speakers=TEST_SPEAKERS,
    )


if __name__ == "__main__":
    main()
