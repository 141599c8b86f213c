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
# # Domain adaptation: labels here, pictures there
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/5_domain_adaptation.ipynb)
#
# A network that learnt from clean scans fails on a poor camera, of whose pictures nobody has
# labels. `build_afe` learns from the labels of the one (the *source*) and makes the features of the
# other (the *target*) alike. You will see how much a plain network loses, and how much of that
# comes back without a single label of the target.

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
# True: MNIST as the source, USPS as the target, from `mnist/` (the .gz files of its training part)
# and `usps/usps.npz` below the folder that the variable MM_KERAS_DATA names.
FULL = False

import gzip
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import mm_keras as mm

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Two domains
#
# Handwritten digits of scikit-learn. Half of them stay as they are; the other half are seen by a
# poor camera, simulated here: little contrast, too bright, with noise. The target is split once
# more: pictures to adapt to, whose labels nobody looks at, and pictures for the test, whose labels
# measure how well it went.


# %%
def poor_camera(pictures):
    seen = 0.35 * pictures + 130 + rng.normal(0, 25, pictures.shape)
    return np.clip(seen, 0, 255).astype("uint8")


def sklearn_digits():
    data = load_digits()
    order = rng.permutation(len(data.target))
    pictures, labels = data.images[order][..., None] / 16 * 255, data.target[order]
    source = pictures[:900].astype("uint8"), labels[:900]
    return source, poor_camera(pictures[900:1500]), (poor_camera(pictures[1500:]), labels[1500:])


def mnist_and_usps(folder):
    def read(name, skip):
        with gzip.open(next(folder.glob(f"mnist/*{name}*"))) as file:
            return np.frombuffer(file.read(), "uint8")[skip:]

    pictures, labels = read("images", 16).reshape(-1, 28, 28, 1), read("labels", 8)
    few = rng.choice(len(labels), 2000, replace=False)
    with np.load(folder / "usps" / "usps.npz") as file:
        order = rng.permutation(len(file["labels"]))
        usps = tf.image.resize(file["images"][order][..., None], (28, 28)).numpy()
        usps, own = usps.round().clip(0, 255).astype("uint8"), file["labels"][order]
    return (pictures[few], labels[few].astype("int64")), usps[:1800], (usps[1800:], own[1800:])


if FULL:
    source, target, test = mnist_and_usps(Path(os.environ["MM_KERAS_DATA"]))
else:
    source, target, test = sklearn_digits()

figure, axes = plt.subplots(2, 8, figsize=(8, 2.3), layout="constrained")
for row, (name, pictures) in enumerate({"source": source[0], "target": target}.items()):
    for axis, picture in zip(axes[row], pictures, strict=False):
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)
plt.show()

# %% [markdown]
# ## With and without adaptation
#
# - *Source only*: a plain network that never sees the target.
# - *Adapted*: the same layers, and two aims more. A discriminator tells the domains apart, and the
#   features learn to mislead it; it is shown features and predictions together (their outer
#   product), so that each class is aligned with its own: CDAN, conditional adversarial adaptation
#   (Long 2018). And predictions for the target are to be sure of each sample, with all classes in
#   use: information maximization (Liang 2020).
#
# `domain_batches` makes batches of both domains, in which the target's labels weigh nothing;
# `ReversalSchedule` raises the adversary's weight from 0.


# %%
def samples(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).shuffle(
        2000, seed=0
    )


modalities = {"image": mm.Image(source[0].shape[1:], backbone="SmallCNN")}
labelled = samples({"image": source[0]}, source[1])

keras.utils.set_random_seed(0)
source_only = mm.build_mcnn(modalities, num_classes=10, width=64)
source_only.compile(keras.optimizers.Adam(1e-3), mm.losses.classification(), jit_compile=False)
source_only.fit(labelled.batch(32), epochs=15, shuffle=False, verbose=0)

keras.utils.set_random_seed(0)
adapted = mm.build_afe(
    modalities,
    num_classes=10,
    width=64,
    method="cdan",
    entropy_conditioning=True,
    adapt_predictions=True,
)
losses = {
    "label": mm.losses.classification(),
    "domain": mm.losses.classification(),
    "label_domain": mm.losses.InformationMaximization(),
}
adapted.compile(keras.optimizers.Adam(1e-3), losses, jit_compile=False)
batches = mm.data.domain_batches(labelled, samples({"image": target}), batch_size=64)
adapted.fit(
    mm.data.labels_for_outputs(batches, adapted),
    epochs=15,
    shuffle=False,
    verbose=0,
    callbacks=[mm.training.ReversalSchedule()],
)
models = {"source only": source_only, "adapted": mm.inference_model(adapted)}  # no adversary

# %% [markdown]
# ## Did it help?
#
# Now, and only now, the labels of the target's test pictures.

# %%
found = {}
for name, model in models.items():
    found[name] = model.predict({"image": test[0]}, batch_size=300, verbose=0)["label"]
    accuracy = np.mean(found[name].argmax(axis=1) == test[1])
    print(f"{name:12} target test accuracy {100 * accuracy:.1f} % (n = {len(test[1])})")

# %% [markdown]
# Which digits of the target does the network without adaptation take for which, and what is left of
# that after it?

# %%
digits = [str(digit) for digit in range(10)]
mm.plots.confusion_matrix(test[1], found["source only"].argmax(axis=1), digits, "Source only")

# %%
mm.plots.confusion_matrix(test[1], found["adapted"].argmax(axis=1), digits, "Adapted")

# %% [markdown]
# ## How sure, and may one trust it?
#
# Without labels accuracy cannot be seen. What can: how sure predictions are, and whether all
# classes occur. `target_score` is both in one number: the entropy of the mean prediction less the
# mean entropy of predictions, at most log 10 = 2.30 here. It can be fooled by predictions that are
# sure and wrong, so look at more than one run.

# %%
for name, model in models.items():
    seen = model.predict({"image": target}, batch_size=300, verbose=0)["label"]
    counts = np.bincount(seen.argmax(axis=1), minlength=10)
    score = mm.training.target_score(seen)
    print(f"{name:12} score {score:.2f}, mean probability {seen.max(axis=1).mean():.2f}, {counts}")

# %% [markdown]
# The predictions of the two domains, seen in two dimensions (principal components): grey, the
# source; coloured, the target by its true class. After adaptation the colours should lie where
# their class lies in the source.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axis, (name, model) in zip(axes, models.items(), strict=True):
    of_source = model.predict({"image": source[0]}, batch_size=300, verbose=0)["label"]
    plane = PCA(2).fit(np.log(of_source + 1e-4))
    grey, colour = (plane.transform(np.log(part + 1e-4)) for part in (of_source, found[name]))
    axis.scatter(*grey.T, s=8, color="0.8")
    axis.scatter(*colour.T, s=8, c=test[1], cmap="tab10")
    axis.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Go on
#
# `method="dann"` and `"mmd"` align features alone: try them, and see that aligned domains can have
# their classes swapped. `SelectEpoch` keeps the epoch that looks best without labels; two
# modalities can be aligned each by itself (`align="each"`).
