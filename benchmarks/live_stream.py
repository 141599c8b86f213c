"""A live stream of lip video and voice: predictions, and how long after each window they come.

    MM_KERAS_DATA=… python benchmarks/live_stream.py [--seeds 3] [--epochs 6]

Protocol: 750 spoken digits of one GRID speaker (16 frames at 25 a second, sound at 8 kHz), 600
train and 150 test, stratified. The test words are sent one after the other as two streams, frames
and chunks of sound of 20 ms, with what a network does to them: each item is on its way for 5 ms and
an exponential time (mean 10 ms) more, and one in twenty is lost. `mm.data.align_streams` joins them
into windows of 0.64 s, one a word, which wait 50 ms for what comes late. Waiting is in the streams'
time, from a window's end until it is given out; computing is measured, from there to the
prediction, joining included, one core. The rows differ in what stands for a lost item, and in what
the model saw in training: whole words, or words with one item in twenty lost, which are filled
likewise. `nothing lost` says what joining and lateness cost by themselves, and `offline` predicts
the same words from the file.

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


def layout(fill):
    return {
        "video": mm.data.Stream((28, 42, 1), FRAMES, fill=fill),
        "audio": mm.data.Stream((CHUNK,), SAMPLES // CHUNK, fill=fill, join=True),
    }


def with_losses(inputs, fill, rng):
    """Returns words of which items are lost, as live ones are."""
    found = {}
    for name, stream in layout(fill).items():
        items = inputs[name].reshape(-1, stream.count, *stream.shape)
        there = rng.random(items.shape[:2]) >= LOSS
        if fill == "zero":
            items = items * there.reshape(*there.shape, *[1] * len(stream.shape))
        else:
            before = np.maximum.accumulate(np.where(there, np.arange(stream.count), -1), axis=1)
            before = np.where(before < 0, there.argmax(axis=1)[:, None], before)
            items = np.take_along_axis(
                items, before.reshape(*before.shape, *[1] * len(stream.shape)), axis=1
            )
        found[name] = items.reshape(inputs[name].shape).astype("float32")
    return {**inputs, **found}


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


def live(inputs, rng, loss=LOSS):
    """Yields items of all words, one after the other, in the order in which they arrive."""
    events = []
    for word in range(len(inputs["video"])):
        start = word * SECONDS
        chunks = inputs["audio"][word].reshape(-1, CHUNK)
        events += [("video", start + n / FPS, x) for n, x in enumerate(inputs["video"][word])]
        events += [("audio", start + n * CHUNK / RATE, x) for n, x in enumerate(chunks)]
    events = [event for event in events if rng.random() >= loss]
    arrival = [event[1] + TRAVEL + rng.exponential(JITTER) for event in events]
    for number in np.argsort(arrival):
        yield events[number]


def follow(model, events, fill):
    """Returns predictions, waiting and computing in ms, and the share of items that were there."""
    latest = -1.0

    def watched():
        nonlocal latest
        for event in events:
            latest = max(latest, event[1])
            yield event

    predictions, waiting, computing, found = [], [], [], []
    windows = mm.data.align_streams(watched(), layout(fill), window=SECONDS, delay=DELAY, start=0.0)
    began = time.perf_counter()
    for window in windows:
        batch = {name: value[None] for name, value in window.inputs.items()}
        predictions.append(int(model.predict_on_batch(batch)["label"].argmax()))
        computing.append(1e3 * (time.perf_counter() - began))
        waiting.append(1e3 * max(0.0, latest - window.start - SECONDS))
        found.append(np.mean(np.concatenate(list(window.found.values()))))
        began = time.perf_counter()
    return np.array(predictions), waiting[:-1], computing[1:], float(np.mean(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--save", help="a file, x.keras, for the model that saw whole words")
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with grid_words/: see the head of this file.")
    inputs, labels = read_words(pathlib.Path(folder, "grid_words"))
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=150, stratify=labels, random_state=0)
    words = {name: value[test] for name, value in inputs.items()}
    rows = {}

    def add(row, figures):
        for figure, value in figures.items():
            rows.setdefault(row, {}).setdefault(figure, []).append(round(value, 2))
        print(row, figures, flush=True)

    def measure(row, model, fill, seed, loss=LOSS):
        events = live(words, np.random.default_rng(seed), loss)
        predictions, waiting, computing, found = follow(model, events, fill)
        add(
            row,
            {
                "accuracy %": 100 * float(np.mean(predictions == labels[test])),
                "items there %": 100 * found,
                "waiting, median ms": statistics.median(waiting),
                "computing, median ms": statistics.median(computing),
                "computing, 95 % ms": float(np.percentile(computing, 95)),
            },
        )

    for seed in range(options.seeds):
        known = {name: value[train] for name, value in inputs.items()}
        model = learn(known, labels[train], seed, options.epochs)
        offline = model.predict(words, verbose=0)["label"].argmax(-1)
        add("offline", {"accuracy %": 100 * float(np.mean(offline == labels[test]))})
        measure("live, nothing lost", model, "zero", seed, loss=0.0)
        for fill in ("zero", "hold"):
            measure(f"live, {fill}", model, fill, seed)
        if options.save:
            model.save(options.save)
        for fill in ("zero", "hold"):
            lossy = with_losses(known, fill, np.random.default_rng(seed))
            both = {name: np.concatenate([known[name], lossy[name]]) for name in known}
            model = learn(both, np.tile(labels[train], 2), seed, options.epochs // 2)
            measure(f"live, {fill}, learnt with losses", model, fill, seed)
    report(
        "live_stream",
        rows,
        "A live stream of lip video and voice, 150 spoken digits, windows of 640 ms",
        seeds=options.seeds,
        epochs=options.epochs,
        loss=LOSS,
        delay_ms=1e3 * DELAY,
    )


def learn(inputs, labels, seed, epochs):
    """Returns a trained model."""
    keras.utils.set_random_seed(seed)
    model = mm.build_mcnn(SPECS, 10, width=64, modality_dropout=0.2, seed=seed)
    model.compile(
        keras.optimizers.Adam(2e-3), mm.losses.classification(), jit_compile=jit_compile()
    )
    data = tf.data.Dataset.from_tensor_slices((inputs, labels))
    model.fit(data.shuffle(len(labels), seed=seed).batch(20), epochs=epochs, verbose=0)
    return model


if __name__ == "__main__":
    main()
