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
# # Compress and export: from a trained network to a phone
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/7_compress_and_export.ipynb)
#
# A network that is to run on a phone must be small and fast, and the file must do what the model
# does. You will quantize one that sees and hears to 8 bits, prune one, measure what each variant
# costs and saves, write a file for phones with its preprocessing inside, and run that file without
# Keras.

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
FULL = False  # True: more epochs and variants: dynamic range, quantization-aware training

import tempfile
from collections import Counter
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

import mm_keras as mm

keras.utils.set_random_seed(0)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A model to begin with
#
# Digits, written and spoken (synthetic speech), with less noise than usual; see notebook 0.

# %%
specs = {
    "image": mm.Image((8, 8, 1), backbone="SmallCNN"),
    "audio": mm.Audio(samples=6400, sample_rate=8000, mel_bins=16, window=0.064, stride=0.05),
}
noise = {"image_noise": 60, "audio_snr_db": 10}
train = mm.data.from_tfds("av_digits", "train", specs, options=noise)
train = train.take(2400 if FULL else 1200).cache()
test = mm.data.from_tfds("av_digits", "test", specs, options=noise).batch(100).cache()

model = mm.build_mcnn(specs, num_classes=10, width=64)
model.compile(
    keras.optimizers.Adam(3e-3),
    mm.losses.classification(),
    metrics=["accuracy"],
    jit_compile=False,
)
batches = train.shuffle(2400, seed=0).batch(64)
history = model.fit(batches, epochs=20 if FULL else 6, shuffle=False, verbose=0)
print(f"training accuracy {100 * history.history['accuracy'][-1]:.1f} %")

# %% [markdown]
# ## Quantize
#
# `int8` stores weights in 8 bits and computes in 8 bits. It must know the range of every number in
# the network, so it looks at some samples. Nothing is trained.

# %%
int8 = mm.compress.quantize(model, representative=train.batch(32))
for reason, count in Counter(kept.reason for kept in int8.stayed_float).items():
    print(f"{count} operations in 32 bits: {reason}")

# %% [markdown]
# ## Prune
#
# Small weights become zeros while the rest is trained on. Zeros do not make the file smaller by
# themselves; a zip of it gets smaller, as in an app's package.

# %%
pruned = mm.compress.prune(model, batches, 0.8, epochs=6 if FULL else 2, verbose=0)
print(f"zeros: {100 * mm.compress.sparsity(pruned).overall:.0f} % of the kernels' weights")

# %% [markdown]
# ## What each variant costs, and what it saves
#
# `report` measures accuracy on data that no variant has seen, and size; latency in a fresh process
# each, with LiteRT and one thread where the variant is a LiteRT model. Times wobble on a machine
# that is busy; look at the 95th percentile in brackets, and measure again on the device.

# %%
variants = {"float": model, "pruned": pruned, "int8": int8}
if FULL:
    variants["dynamic"] = mm.compress.quantize(model, "dynamic")
    aware = mm.compress.quantize_aware(model, batches, epochs=3, verbose=0)
    variants["quantization-aware"] = aware
rows = mm.compress.report(variants, test, runs=15, console=Console(width=120))

# %% [markdown]
# Here the size is that of the zipped file. Up and to the left is better; what lies below the dashed
# line lost accuracy. Mind the scale: how many of the samples is a step of it?

# %%
points = {row.name: (row.zipped_bytes / 1e3, row.metrics["accuracy"]) for row in rows}
mm.plots.size_tradeoff(points, samples=397)

# %% [markdown]
# ## A file for a phone
#
# With `preprocessing=True` the file takes what a phone has: a picture of any size, sound of any
# length. It is compared with the model in a fresh process before it is there. A card travels in the
# file: shapes, units, classes, metrics.

# %%
path = mm.export(
    model,
    folder / "digits.tflite",
    format="litert",
    preprocessing=True,
    classes=[str(digit) for digit in range(10)],
    metrics={"accuracy": rows[0].metrics["accuracy"]},
    training_data="av_digits",
)
print(f"{path.name}: {path.stat().st_size / 1e3:.0f} KB")
card = mm.exporting.read_card(path)
print(sorted(card))

# %% [markdown]
# Reading it back needs no Keras model. This is what an app does, here with a picture of 20 × 20
# pixels and half a second of sound. Noise and silence make no digit, yet the classifier must choose
# one, perhaps with much confidence: an app has to ask by itself whether there is anything at all.

# %%
phone = mm.load(path)
for name, info in phone.inputs.items():
    print(name, info)
pictures = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 1)).astype("uint8")
prediction = phone.predict({"image": pictures, "audio": np.zeros((1, 4000), "float32")})
print("for noise and silence:", np.round(prediction["label"][0], 2))

# %% [markdown]
# The quantized model is a file too. Its predictions and those of the float model on the same
# pictures and sounds:

# %%
int8.save(folder / "digits_int8.tflite")
inputs, labels = next(iter(test))
small = mm.load(folder / "digits_int8.tflite").predict(
    {name: np.asarray(value) for name, value in inputs.items()}
)["label"]
large = model.predict_on_batch(inputs)["label"]
agree = np.mean(small.argmax(axis=1) == np.argmax(large, axis=1))
print(f"{100 * agree:.0f} % of {len(labels)} predictions are the same class")
print(f"{(folder / 'digits_int8.tflite').stat().st_size / 1e3:.0f} KB")

# %% [markdown]
# ## Go on
#
# `format="onnx"` and `"saved_model"` write for other runtimes; `mm.compress.cluster` leaves a few
# values for all weights; `mm.compress.distil` teaches a network that only hears what this one
# knows.
