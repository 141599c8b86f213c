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
# # Video and sound: recognise what is seen and heard over time
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/2_video_and_sound.ipynb)
#
# In a video no single frame tells the whole, and the sound has its own pace. You will make a
# network in which every moment of the video can attend to every moment of the sound
# (`build_nasn`), compare it with seeing and hearing alone, and look at where its attention goes.

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
# True: spoken digits of the GRID corpus, lips (16 frames, 28×42) and voice, from
# `grid_words/words.npz` below the folder that the variable MM_KERAS_DATA names.
FULL = False

import keras
import numpy as np

import mm_keras as mm

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Clips
#
# A stand-in for a filmed event, made here of what the package carries: a slit moves over a
# handwritten digit, so that each frame shows three columns of it and noise; meanwhile a synthetic
# voice says the digit among other voices. With `FULL` lips and voice of a real speaker take their
# place, with the voice drowned in white noise.

# %%
if FULL:
    video = mm.Video(frames=16, shape=(28, 42, 1), backbone="SmallCNN", temporal=None)
    sound = mm.Audio(samples=5120, sample_rate=8000, mel_bins=32, window=0.032, stride=0.016)
else:
    video = mm.Video(frames=6, shape=(8, 8, 1), backbone="SmallCNN", temporal=None)
    sound = mm.Audio(samples=6400, sample_rate=8000, mel_bins=16, window=0.064, stride=0.05)
specs = {"video": video, "sound": sound}


def film(picture):
    """Returns frames (6, 8, 8, 1), uint8, of a slit that moves over a picture (8, 8, 1)."""
    column, frame = tf.range(8)[None, :], tf.range(6)[:, None]
    seen = tf.cast(tf.abs(column - frame - 1) <= 1, tf.float32)[:, None, :, None]
    noise = tf.random.normal((6, 8, 8, 1), stddev=70.0)
    shown = tf.cast(picture, tf.float32) * seen + noise
    return tf.cast(tf.clip_by_value(shown, 0.0, 255.0), tf.uint8)


def load(split):
    if FULL:
        with np.load(f"{os.environ['MM_KERAS_DATA']}/grid_words/words.npz") as words:
            rows = np.random.default_rng(0).permutation(len(words["digit"]))
            rows = rows[150:] if split == "train" else rows[:150]
            clips = {
                "video": words["digit_video"][rows][..., None],
                "sound": words["digit_audio"][rows].astype("float32") / 32768,
            }
            data = tf.data.Dataset.from_tensor_slices((clips, words["digit"][rows]))
        noise = mm.data.AddNoise(min_snr_db=-10, max_snr_db=-10)
        return mm.data.augment(data, {"sound": noise}, seed=0)
    data = mm.datasets.av_digits(split, image_noise=0, audio_snr_db=3)
    return data.map(
        lambda inputs, label: ({"video": film(inputs["image"]), "sound": inputs["audio"]}, label)
    )


# Noise is drawn once: `cache` keeps what was drawn.
train, test = load("train"), load("test").cache()
train = (train if FULL else train.take(1600)).cache()
inputs, labels = next(iter(test.batch(4)))
mm.plots.contact_sheet(inputs, [str(int(label)) for label in labels], specs)

# %% [markdown]
# ## Seeing, hearing, both
#
# With `temporal=None` the frames stay apart: the network gets a sequence of positions in time from
# either modality, and each position may draw on all others, of both. `modality_dropout` hides one
# of the two now and then, so that the network does not lean on the easier one alone.


# %%
def learn(*names):
    keras.utils.set_random_seed(0)
    model = mm.build_nasn(
        {name: specs[name] for name in names},
        num_classes=10,
        width=48,
        modality_dropout=0.2 if len(names) > 1 else 0.0,
    )
    model.compile(
        keras.optimizers.Adam(2e-3),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=False,
    )

    def batches(data):
        data = data.map(lambda inputs, label: ({name: inputs[name] for name in names}, label))
        return data.batch(50)

    epochs = 12 if FULL else 6
    model.fit(batches(train.shuffle(2400, seed=0)), epochs=epochs, shuffle=False, verbose=0)
    figures = model.evaluate(batches(test), verbose=0, return_dict=True)
    print(f"{' + '.join(names):15} test accuracy {100 * figures['accuracy']:.1f} %")
    return model


learn("video")
learn("sound")
both = learn("video", "sound")

# %% [markdown]
# ## Where does it look while it listens?
#
# `attention_maps` collects, layer by layer, how much each position of one modality draws on each
# position of another, averaged over the heads. What a position draws on sums to 1 over both
# modalities, so first: how much of it is the other one?

# %%
inputs, labels = next(iter(test.batch(100)))
maps = mm.evaluate.attention_maps(both, inputs)
for name in specs:
    shares = {
        other: maps[f"non_local_1/{name}/{other}"].received().sum() / len(labels) for other in specs
    }
    print(f"{name} draws on", {other: f"{100 * share:.0f} %" for other, share in shares.items()})

# %% [markdown]
# And where? Rows are the positions that draw, columns what they draw on: frames of the video, and
# places in the spectrogram, by time and frequency. Each figure has a scale of its own.

# %%
mm.plots.attention_matrix(maps["non_local_1/sound/video"], title="What the sound draws on")

# %%
mm.plots.attention_matrix(maps["non_local_1/video/video"], title="What the video draws on")

# %% [markdown]
# Attention says where information flows, not what a decision is owed to; for that
# `mm.evaluate.shapley_values` divides a prediction among the modalities, which must be `optional`
# for it (notebook 8).
#
# ## Go on
#
# `temporal="gru"` pools the frames before fusion; `scope="cross"` lets each modality attend to the
# other one alone; notebook 3 runs such a model on a live stream.
