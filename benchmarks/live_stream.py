"""A live stream of lip video and voice: predictions, and how long after each window they come.

    MM_KERAS_DATA=… python benchmarks/live_stream.py [--epochs 6]

Protocol: 750 spoken digits of one GRID speaker (16 frames at 25 a second, sound at 8 kHz), 600
train and 150 test, stratified. The test words are sent one after the other as two streams, frames
and chunks of sound of 20 ms, with what a network does to them: each item is on its way for 5 ms and
an exponential time (mean 10 ms) more, and one in twenty is lost. `mm.data.align_streams` joins them
into windows of 0.64 s, one a word, which wait 50 ms for what comes late. Waiting is in the streams'
time, from a window's end until it is given out; computing is measured, from there to the
prediction, joining included, one core. `offline` predicts the same words from the file.

MM_KERAS_DATA is a folder with `grid_words/words.npz`: keys digit_video, digit_audio, digit.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from seeds import report
from sklearn.model_selection import train_test_split

import mm_keras as mm
from mm_keras.training import jit_compile

FPS, RATE, CHUNK, SECONDS = 25, 8000, 160, 0.64
FRAMES, SAMPLES = 16, 5120
LOSS, TRAVEL, JITTER, DELAY = 0.05, 0.005, 0.010, 0.050
SPECS = {
    "video": mm.Video(FRAMES, (28, 42, 1), backbone="SmallCNN", temporal="gru", optional=True),
    "audio": mm.Audio(SAMPLES, RATE, mel_bins=32, window=0.032, stride=0.016, optional=True),
}
LAYOUT = {
    "video": mm.data.Stream((28, 42, 1), FRAMES),
    "audio": mm.data.Stream((CHUNK,), SAMPLES // CHUNK, join=True),
}


def read_words(folder):
    """Returns inputs and labels of all words."""
    with np.load(folder / "words.npz") as words:
        video, audio, labels = (words[f"digit{part}"] for part in ("_video", "_audio", ""))
    there = np.ones((len(labels), 1), "bool")
    inputs = {
        "video": video[..., None].astype("float32"),
        "video_present": there,
        "audio": audio.astype("float32") / 32768,
        "audio_present": there,
    }
    return inputs, labels.astype("int64")


def live(inputs, rng):
    """Yields items of all words, one after the other, in the order in which they arrive."""
    events = []
    for word in range(len(inputs["video"])):
        start = word * SECONDS
        chunks = inputs["audio"][word].reshape(-1, CHUNK)
        events += [("video", start + n / FPS, x) for n, x in enumerate(inputs["video"][word])]
        events += [("audio", start + n * CHUNK / RATE, x) for n, x in enumerate(chunks)]
    events = [event for event in events if rng.random() >= LOSS]
    arrival = [event[1] + TRAVEL + rng.exponential(JITTER) for event in events]
    for number in np.argsort(arrival):
        yield events[number]


def follow(model, events):
    """Returns predictions, waiting and computing in ms, and the share of items that were there."""
    latest = -1.0

    def watched():
        nonlocal latest
        for event in events:
            latest = max(latest, event[1])
            yield event

    predictions, waiting, computing, found = [], [], [], []
    windows = mm.data.align_streams(watched(), LAYOUT, window=SECONDS, delay=DELAY, start=0.0)
    began = time.perf_counter()
    for window in windows:
        batch = {name: value[None] for name, value in window.inputs.items()}
        predictions.append(int(model.predict_on_batch(batch)["label"].argmax()))
        computing.append(1e3 * (time.perf_counter() - began))
        waiting.append(1e3 * max(0.0, latest - window.start - SECONDS))
        found.append(np.mean(np.concatenate(list(window.found.values()))))
        if len(predictions) <= 10:
            print(f"{window.start:6.2f} s: {predictions[-1]}, {computing[-1]:.1f} ms", flush=True)
        began = time.perf_counter()
    return np.array(predictions), waiting[:-1], computing[1:], float(np.mean(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with grid_words/: see the head of this file.")
    inputs, labels = read_words(pathlib.Path(folder, "grid_words"))
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=150, stratify=labels, random_state=0)
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(SPECS, 10, width=64, modality_dropout=0.2, seed=0)
    model.compile(
        keras.optimizers.Adam(2e-3), mm.losses.classification(), jit_compile=jit_compile()
    )
    data = tf.data.Dataset.from_tensor_slices(
        ({k: v[train] for k, v in inputs.items()}, labels[train])
    )
    model.fit(data.shuffle(600, seed=0).batch(20), epochs=options.epochs, verbose=2)

    words = {name: value[test] for name, value in inputs.items()}
    offline = model.predict(words, verbose=0)["label"].argmax(-1)
    predictions, waiting, computing, found = follow(model, live(words, np.random.default_rng(0)))
    report(
        "live_stream",
        {
            "offline": {"accuracy %": [100 * float(np.mean(offline == labels[test]))]},
            "live": {
                "accuracy %": [100 * float(np.mean(predictions == labels[test]))],
                "items there %": [round(100 * found, 2)],
                "waiting, median ms": [round(statistics.median(waiting), 2)],
                "computing, median ms": [round(statistics.median(computing), 2)],
                "computing, 95 % ms": [round(float(np.percentile(computing, 95)), 2)],
            },
        },
        "A live stream of lip video and voice, 150 spoken digits, windows of 640 ms",
        seeds=1,
        epochs=options.epochs,
        loss=LOSS,
        delay_ms=1e3 * DELAY,
    )


if __name__ == "__main__":
    main()
