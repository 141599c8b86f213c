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
# # Quickstart: pictures and sound in one network
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/0_quickstart.ipynb)
#
# A digit is written by hand, badly, and spoken among other voices. Is a network that sees and hears
# better than one that only sees, or only hears? You will describe the data, build three models,
# train them like any Keras model, compare them, and save the best.

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
FULL = False  # True: all of the training data, and more epochs

import tempfile
from pathlib import Path

import keras

import mm_keras as mm

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Say what your data are
#
# A *spec* for each modality says what goes in: pictures of 8 × 8 pixels with one channel, and
# 0.8 s of sound at 8 kHz, which the model turns into a spectrogram. `SmallCNN` is a small network
# to train from scratch; any model of `keras.applications` can stand there by its name.
#
# `av_digits` comes with the package: real handwritten digits, and **synthetic** speech, both with
# noise. `from_tfds` takes any dataset of TensorFlow Datasets by its name.

# %%
specs = {
    "image": mm.Image((8, 8, 1), backbone="SmallCNN"),
    "audio": mm.Audio(samples=6400, sample_rate=8000, mel_bins=16, window=0.064, stride=0.05),
}


samples = {
    split: mm.data.from_tfds("av_digits", split, specs) for split in ("train", "validation", "test")
}
# So few that they fit in memory as one batch; what does not is a tf.data pipeline, `.batch(64)`.
train, validation, test = (next(iter(data.batch(len(data)))) for data in samples.values())

inputs, labels = test
for name, values in inputs.items():
    print(f"{name}: {tuple(values.shape)} {values.dtype.name}")

# %% [markdown]
# What the models get. Would you recognise these digits from the picture alone, or from the
# spectrogram (time from left to right, pitch from bottom to top)?

# %%
some = {name: values[:5] for name, values in inputs.items()}
mm.plots.contact_sheet(some, [str(int(label)) for label in labels[:5]], specs)

# %% [markdown]
# ## Build
#
# `build_mcnn` makes one branch for each modality and joins them, here by gates that weigh the two
# against each other for each sample. The result is a plain `keras.Model` with a dict of inputs and
# a dict of outputs.


# %%
def build(*names):
    model = mm.build_mcnn(
        {name: specs[name] for name in names}, num_classes=10, width=64, fusion="gated"
    )
    model.compile(
        keras.optimizers.Adam(3e-3),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=False,  # on CPU XLA makes small networks slower; on a GPU leave this out
    )
    return model


both = build("image", "audio")
mm.plots.model_diagram(both)

# %% [markdown]
# ## Train all three
#
# The same budget for each: what differs is only what the model is given.

# %%
models = {"image": build("image"), "audio": build("audio"), "image + audio": both}
share = slice(None) if FULL else slice(1600)
histories, accuracy = {}, {}
for name, model in models.items():

    def pick(data, rows=slice(None), names=tuple(model.input)):
        inputs, labels = data
        return {name: inputs[name][rows] for name in names}, labels[rows]

    history = model.fit(
        *pick(train, share),
        validation_data=pick(validation),
        batch_size=64,
        epochs=15 if FULL else 6,
        verbose=0,
    )
    histories[name] = history.history
    accuracy[name] = model.evaluate(*pick(test), batch_size=200, verbose=0, return_dict=True)

for name, figures in accuracy.items():
    print(f"{name:15} test accuracy {100 * figures['accuracy']:.1f} %")

# %% [markdown]
# Look at the solid lines: together the two modalities reach what neither reaches alone. One run
# with few epochs wobbles; notebook 8 compares with several seeds and an interval, as one should
# before believing it.

# %%
mm.plots.learning_curves(histories)

# %% [markdown]
# ## Save, load, predict
#
# As ever in Keras. `mm.export` writes files for phones and servers: see notebook 7.

# %%
path = Path(tempfile.mkdtemp()) / "digits.keras"
both.save(path)
restored = keras.models.load_model(path)  # needs `import mm_keras`, nothing else

probabilities = restored.predict(some, verbose=0)["label"]
for label, row in zip(labels.numpy(), probabilities, strict=False):
    print(f"true {label}   predicted {row.argmax()}   probability {row.max():.2f}")

# %% [markdown]
# ## Go on
#
# Change `fusion` to `"concat"` or `"cross_attention"`; make the sound cleaner with
# `from_tfds(…, options={"audio_snr_db": 20})` and see which modality wins then; set `FULL = True`.
