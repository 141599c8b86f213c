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
# # Is fusion worth it, and which one?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/8_compare_fusions.ipynb)
#
# A single run proves little: with another seed the order of two systems may be another. Here each
# modality alone and several fusions are trained under one budget, each with the same seeds, and
# compared with an interval and a paired test. Then one model is asked what it owes to each
# modality.

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
FULL = False  # True: more systems, seeds and epochs

import tempfile
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

import mm_keras as mm
from mm_keras.experiments import compare, read_comparison

# %% [markdown]
# ## Data
#
# `av_digits`: handwritten digits and the same digits spoken (synthetic speech), both with noise.
# So that many small trainings take seconds, the sound is turned into a spectrogram once and for
# all, and pictures are plain pixels: precomputed *features*, written to one file for each split.

# %%
sound = mm.Audio(samples=6400, sample_rate=8000, mel_bins=16, window=0.064, stride=0.05)
spectrogram = mm.layers.LogMelSpectrogram(
    8000, sound.frame_length, sound.frame_step, sound.fft_length, sound.mel_bins
)
folder = Path(tempfile.mkdtemp())
for split in ("train", "test"):
    samples = mm.data.from_tfds("av_digits", split, {"image": mm.Image((8, 8, 1)), "audio": sound})
    inputs, labels = next(iter(samples.batch(len(samples))))
    features = {
        "image": np.reshape(inputs["image"], (-1, 64)) / 255 - 0.5,
        "audio": np.reshape(spectrogram(inputs["audio"]), (-1, 272)) / 255 - 0.5,
    }
    np.savez(folder / f"{split}.npz", label=labels, **features)
    print(split, {name: tuple(value.shape) for name, value in features.items()})

# %% [markdown]
# ## Describe the comparison
#
# The same text in a file serves the command: `mm-keras compare CONFIG.yaml`. What stands under
# `builder`, `dataset` and `fit` holds for all rows; each modality alone is a row by itself.

# %%
systems = """
    concat: {name: build_mcnn}
    gated: {name: build_mcnn, fusion: gated}
"""
if FULL:
    systems += """
    sum: {name: build_mcnn, fusion: sum}
    low rank: {name: build_mcnn, fusion: low_rank}
    dynamic: {name: build_dfn, auxiliary_heads: true}
    matching: {name: build_cmn, embedding: null, contrastive: null}
"""
config = folder / "compare.yaml"
config.write_text(
    f"""
modalities:
  image: {{type: Features, shape: 64}}
  audio: {{type: Features, shape: 272}}
builder: {{num_classes: 10, width: 64, hidden: [64]}}
compare:
  seeds: {5 if FULL else 3}
  systems: {systems}
dataset:
  type: arrays
  path:
    train: {folder}/train.npz
    test: {folder}/test.npz
  validation: null
compile: {{learning_rate: 0.003}}
fit: {{epochs: {30 if FULL else 6}}}
"""
)
comparison = read_comparison(config)
print(list(comparison.rows()))

# %% [markdown]
# ## Run it
#
# Every training that ends is written to the folder: killed and called again, it goes on where it
# was.

# %%
result = compare(comparison, folder / "results", console=Console(quiet=True))
Console(width=100).print(result.table("av_digits, features"))

# %% [markdown]
# Read it in this order. *Is any system above the best single modality?* `p` is the probability of
# a difference at least as large between seeds if there were none; with few seeds only large
# differences get a small one. *Do the intervals of two fusions overlap?* Then this comparison does
# not tell them apart, and the one with fewer parameters is the better choice.

# %%
mm.plots.comparison_chart({row.name: row.values for row in result.rows}, f"test {result.metric}")

# %% [markdown]
# ## What is each modality worth to one model?
#
# Another question, asked of a single trained model: what happens without one of its modalities? For
# that they must be allowed to be absent (`optional=True`), and the model trained for it
# (`modality_dropout`).


# %%
def arrays(split):
    with np.load(folder / f"{split}.npz") as file:
        here = np.ones((len(file["label"]), 1), bool)
        inputs = {"image": file["image"], "audio": file["audio"]}
        return {**inputs, "image_present": here, "audio_present": here}, file["label"]


keras.utils.set_random_seed(0)
model = mm.build_mcnn(
    {
        "image": mm.Features(64, optional=True),
        "audio": mm.Features(272, optional=True),
    },
    num_classes=10,
    width=64,
    hidden=[64],
    fusion="gated",
    modality_dropout=0.3,
)
model.compile(keras.optimizers.Adam(3e-3), mm.losses.classification(), jit_compile=False)
model.fit(*arrays("train"), batch_size=64, epochs=30 if FULL else 12, verbose=0)

test = arrays("test")
mm.plots.presence_chart(mm.evaluate.presence_ablation(model, test, batch_size=200))

# %% [markdown]
# Both together, each alone, and nothing, which leaves a guess. And the shares: a Shapley value
# divides what the model says for its predicted class, over a guess, among the modalities, so that
# the parts of each sample sum to the whole.

# %%
shares = mm.evaluate.shapley_values(model, test, batch_size=200)
mm.plots.contributions_chart(shares)

# %% [markdown]
# ## Go on
#
# - `mm.evaluate.robustness_curves`: how fast does accuracy fall as one modality gets worse?
# - `mm-keras compare examples/compare.yaml`: the same with CNNs on pixels and waveforms.
