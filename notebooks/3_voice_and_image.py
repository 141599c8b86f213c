# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Voice and image: a spoken command, live
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/3_voice_and_image.ipynb)
#
# Two pictures lie before a device, and a voice says a digit: *which of the two is meant?* The
# pictures alone cannot say, nor can the voice: this is not a task that fusion makes easier, but one
# that only both together answer. You will build the network, give the same pictures two different
# commands, and run it on a live stream as from a microphone and a camera.

# %%
import importlib.util
import os
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's own log stays quiet
if importlib.util.find_spec("mm_keras") is None:  # on Colab; elsewhere it is installed already
    package = "mm_keras @ git+https://github.com/OWNER/mm_keras"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)

import tensorflow as tf

tf.get_logger().setLevel("ERROR")

# %%
FULL = False  # True: more training pairs and epochs, and a harder noise of other voices

import queue
import threading
import time

import keras
import matplotlib.pyplot as plt
import numpy as np

import mm_keras as mm

keras.utils.set_random_seed(0)
RATE, SAMPLES = 8000, 6400  # 0.8 s
SNR_DB = 5 if FULL else 20

# %% [markdown]
# ## Commands and pictures
#
# Real handwritten digits, and synthetic speech of 50 voices, both from the package; no digit and no
# voice of the test was seen in training. Which side is meant is drawn by lot, and so is the other
# picture: whoever sees only the pictures, or only hears the voice, can but guess.
#
# Besides the side, each sample says what the parts are. Learning these too makes the network learn
# faster: they are heads of the same model.


# %%
def make(split, count, seed):
    data = mm.datasets.av_digits(split, image_noise=0, audio_snr_db=SNR_DB)
    inputs, digits = next(iter(data.batch(len(data))))
    pictures, voices, digits = inputs["image"].numpy(), inputs["audio"].numpy(), digits.numpy()
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(digits == digit) for digit in range(10)]
    command = rng.integers(len(digits), size=count)
    said = digits[command]
    other = (said + rng.integers(1, 10, count)) % 10
    right = rng.integers(0, 2, count)
    left_digit, right_digit = np.where(right, other, said), np.where(right, said, other)

    def draw(wanted):
        return np.stack([pictures[rng.choice(rows[digit])] for digit in wanted])

    inputs = {"left": draw(left_digit), "right": draw(right_digit), "voice": voices[command]}
    labels = {"side": right, "said": said, "left_is": left_digit, "right_is": right_digit}
    return inputs, labels


train = make("train", 6000 if FULL else 2400, seed=0)
test = make("test", 400, seed=1)

image = mm.Image((8, 8, 1), backbone="SmallCNN")
voice = mm.Audio(SAMPLES, RATE, mel_bins=16, window=0.064, stride=0.05)
specs = {"left": image, "right": image, "voice": voice}
some = {name: values[:4] for name, values in test[0].items()}
titles = [
    f"say {d}: {'right' if r else 'left'}"
    for d, r in zip(test[1]["said"][:4], test[1]["side"][:4], strict=True)
]
mm.plots.contact_sheet(some, titles, specs)

# %% [markdown]
# ## A network that compares
#
# `build_cmn` compares the features of every two modalities, position by position, and what it finds
# feeds the classifier: "does what I hear match what I see on the left?" Both pictures go through
# one encoder.

# %%
heads = {"side": 2, "said": 10, "left_is": 10, "right_is": 10}
model = mm.build_cmn(
    specs,
    heads,
    embedding=None,  # no retrieval, so no contrastive loss
    width=64,
    hidden=[64],
    share_encoder=[("left", "right")],
)
model.compile(
    keras.optimizers.Adam(3e-3),
    dict.fromkeys(heads, mm.losses.classification()),
    metrics=dict.fromkeys(heads, "accuracy"),
    jit_compile=False,
)
model.fit(*train, batch_size=64, epochs=12 if FULL else 5, verbose=0)
figures = model.evaluate(*test, batch_size=200, verbose=0, return_dict=True)
for head in heads:
    print(f"{head:9} test accuracy {100 * figures[head + '_accuracy']:.1f} %")

# %% [markdown]
# ## The same pictures, another command
#
# The proof that it listens *and* looks: for each pair of pictures of the test, a voice says the
# digit on the left, then one says the digit on the right. Does the answer follow?

# %%
inputs, labels = test
by_digit = {digit: inputs["voice"][labels["said"] == digit] for digit in range(10)}
answers = {}
for side in ("left", "right"):
    voices = np.stack([by_digit[digit][0] for digit in labels[f"{side}_is"]])
    answers[side] = model.predict({**inputs, "voice": voices}, batch_size=200, verbose=0)["side"]
follows = (answers["left"].argmax(axis=1) == 0) & (answers["right"].argmax(axis=1) == 1)
print(f"both answers right for {100 * follows.mean():.1f} % of {len(follows)} pairs")

# %% [markdown]
# ## Live
#
# A microphone gives chunks of 20 ms, a camera a frame now and then, each with a timestamp and none
# waiting for the other. A thread plays that here, in real time, into a queue; a device would put
# its own chunks there. Every fifth camera frame is lost on the way.
#
# Commands come on the beat of 0.8 s. A device would rather start a window where a voice sets in.

# %%
CHUNK, COMMANDS = 160, 6
sounds = [test[0]["voice"][row].reshape(-1, CHUNK) for row in range(COMMANDS)]


def events():
    """Yields (name, seconds, value) in order."""
    for row, chunks in enumerate(sounds):
        for number, chunk in enumerate(chunks):
            moment = 0.8 * row + number * CHUNK / RATE
            yield "voice", moment, chunk
            if number % 8 == 4 and (number // 8 + 5 * row) % 5:
                for side in ("left", "right"):
                    yield side, moment, test[0][side][row]


def live(events):
    """Yields events when they happen."""
    arrived = queue.Queue()
    start = time.perf_counter()

    def play():
        for event in events:
            time.sleep(max(0.0, start + event[1] - time.perf_counter()))
            arrived.put(event)
        arrived.put(None)

    threading.Thread(target=play, daemon=True).start()
    yield start
    yield from iter(arrived.get, None)


# %% [markdown]
# `align_streams` joins what comes into windows: 40 chunks become one waveform, and of the pictures
# the one nearest to the window's middle is taken. It waits a moment for what is late, then goes on
# without: nothing that stalls holds up the rest.

# %%
layout = {
    "voice": mm.data.Stream((CHUNK,), SAMPLES // CHUNK, join=True),
    "left": mm.data.Stream((8, 8, 1), place="center", join=True),
    "right": mm.data.Stream((8, 8, 1), place="center", join=True),
}
first = {name: values[:1].astype("float32") for name, values in test[0].items()}
model.predict_on_batch(first)  # the first call takes long: TensorFlow makes its graph
stream = live(events())
start = next(stream)
heard = []
for window in mm.data.align_streams(stream, layout, window=0.8, delay=0.02, start=0.0):
    batch = {name: window.inputs[name][None] for name in specs}
    outputs = model.predict_on_batch(batch)
    late = time.perf_counter() - start - window.start - 0.8  # from the end of the window on
    side = ("left", "right")[int(np.argmax(outputs["side"]))]
    heard.append((batch, np.argmax(outputs["said"]), side))
    true = ("left", "right")[test[1]["side"][len(heard) - 1]]
    print(
        f"{window.start:4.1f} s  heard {heard[-1][1]}, it is the {side:5} one (true: {true:5})  "
        f"{100 * window.found['voice'].mean():.0f} % of the sound there, {1000 * late:.0f} ms late"
    )

# %% [markdown]
# The last window ends with the stream, so that nothing is waited for. What the device saw and what
# it heard, with its answer marked:

# %%
figure, axes = plt.subplots(2, COMMANDS, figsize=(9, 3.2), layout="constrained")
for column, (batch, said, side) in enumerate(heard[:COMMANDS]):
    for axis, name in zip(axes[:, column], ("left", "right"), strict=True):
        axis.imshow(batch[name][0, ..., 0], cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[], ylabel=name if column == 0 else "")
        for spine in axis.spines.values():
            spine.set(color="#D55E00" if name == side else "none", linewidth=4)
    axes[0, column].set_title(f'heard "{said}"', fontsize=10)
plt.show()

# %% [markdown]
# ## Go on
#
# `examples/live_video.py` plays a video file with sound like this; `Stream(fill="hold")` repeats
# the last item where one is lost; `optional=True` in a spec lets a whole modality fail.
