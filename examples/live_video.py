"""A live stream of pictures and sound into a model: predictions, and how late they are.

    python examples/live_video.py CLIP [--model MODEL.keras] [--box TOP LEFT HEIGHT WIDTH]

A recorded video with sound plays in real time: a thread decodes it and hands over each frame and
each chunk of sound at the moment at which a camera would. `mm.data.align_streams` joins them into
overlapping windows, and the model predicts each. Printed are a window's start, the class, how many
of its items were there, and the latency: wall-clock time from the end of the window, when its last
item happens, to the prediction; it includes the time that windows wait for late items.

The model takes "video" (16, 28, 42, 1), grey, 0–255, and "audio" (5120,) at 8 kHz, each with its
presence input, such as `python benchmarks/live_stream.py --save MODEL.keras` trains on words of
GRID. Without `--model` a new one serves, whose classes mean nothing. Needs `mm_keras[video]`.
"""

import argparse
import queue
import threading
import time

import av
import keras
import numpy as np
import tensorflow as tf

import mm_keras as mm

FPS, RATE, CHUNK, WINDOW = 25, 8000, 160, 0.64
FRAMES, SAMPLES = 16, 5120
HEIGHT, WIDTH = 28, 42
LAYOUT = {
    "video": mm.data.Stream((HEIGHT, WIDTH, 1), FRAMES, fill="hold"),
    "audio": mm.data.Stream((CHUNK,), SAMPLES // CHUNK, fill="hold", join=True),
}


def events_of(path, box=None):
    """Yields `(name, seconds, value)` of a video file: frames, and chunks of sound of 20 ms."""
    with av.open(path) as container:
        mono = av.AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=CHUNK)
        sent = 0
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                pixels = frame.to_ndarray(format="gray").astype("float32")[..., None]
                if box:
                    top, left, height, width = box
                    pixels = pixels[top : top + height, left : left + width]
                small = tf.image.resize(pixels, (HEIGHT, WIDTH), antialias=True)
                yield "video", frame.time, small.numpy()
                continue
            for chunk in mono.resample(frame):
                yield "audio", sent * CHUNK / RATE, chunk.to_ndarray().reshape(-1)
                sent += 1


def play(events, speed=1.0):
    """Returns an iterator of events that gives each as it happens, and the clock.

    A thread feeds it. The clock gives the time, as `time.perf_counter` does, of a moment of the
    video.
    """
    began = time.perf_counter()
    arrived = queue.Queue()

    def clock(moment):
        return began + moment / speed

    def feed():
        try:
            for event in sorted(events, key=lambda event: event[1]):
                time.sleep(max(0.0, clock(event[1]) - time.perf_counter()))
                arrived.put(event)
        finally:
            arrived.put(None)

    threading.Thread(target=feed, daemon=True).start()
    return iter(arrived.get, None), clock


def watch(model, events, clock, hop, delay):
    """Yields `(start, class, share of items there, latency in ms)` of each window."""
    for window in mm.data.align_streams(
        events, LAYOUT, window=WINDOW, hop=hop, delay=delay, start=0.0
    ):
        batch = {name: value[None] for name, value in window.inputs.items()}
        predicted = int(np.argmax(model.predict_on_batch(batch)["label"]))
        latency = time.perf_counter() - clock(window.start + WINDOW)
        there = float(np.mean(np.concatenate(list(window.found.values()))))
        yield window.start, predicted, there, 1e3 * latency


def new_model():
    """Returns a model of random weights."""
    specs = {
        "video": mm.Video(FRAMES, (HEIGHT, WIDTH, 1), backbone="SmallCNN", optional=True),
        "audio": mm.Audio(SAMPLES, RATE, mel_bins=32, optional=True),
    }
    return mm.build_mcnn(specs, 10, width=64)


def main(arguments=None):
    """Plays a clip to a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip")
    parser.add_argument("--model")
    parser.add_argument("--box", type=int, nargs=4, metavar="PIXELS", help="of each frame")
    parser.add_argument("--hop", type=float, default=0.16, help="seconds between windows")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds to wait for late items")
    parser.add_argument("--speed", type=float, default=1.0, help="2 plays twice as fast")
    options = parser.parse_args(arguments)
    model = keras.models.load_model(options.model) if options.model else new_model()
    nothing = {name: np.zeros((1, *i.shape[1:]), i.dtype) for name, i in model.input.items()}
    model.predict_on_batch(nothing)  # what is compiled at the first call is compiled before
    latencies = []
    events, clock = play(list(events_of(options.clip, options.box)), options.speed)
    for start, predicted, there, latency in watch(model, events, clock, options.hop, options.delay):
        if latency < 0:  # the video ended before the window did
            break
        print(
            f"{start:6.2f} s: class {predicted}, {100 * there:.0f} % there, {latency:.0f} ms",
            flush=True,
        )
        latencies.append(latency)
    print(f"{len(latencies)} windows, median latency {np.median(latencies):.0f} ms")


if __name__ == "__main__":
    main()
