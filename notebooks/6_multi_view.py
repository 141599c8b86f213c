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
# # Multi-view: several looks at one object
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/6_multi_view.ipynb)
#
# One look may miss what tells two objects apart; several looks from other sides may not.
# `build_mvcnn` sends each view through the same CNN and pools what it finds. You will train it,
# watch accuracy rise with the number of views, and ask which view mattered.

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
# True: 20 real objects from 54 angles, 32×32 (COIL-20), from `coil20/views.npz` below the folder
# that the variable MM_KERAS_DATA names.
FULL = False

import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

import mm_keras as mm

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
VIEWS = 6

# %% [markdown]
# ## Objects and views
#
# Here an object is a handwritten digit of scikit-learn, and a view is a look at it through a
# keyhole: turned by up to 25°, all but a part covered, with noise. It is a drawing of the problem,
# not a photo of it; `FULL` has photos of real objects on a turntable, with noise.


# %%
def look(picture):
    """Returns a view (8, 8) of a picture (8, 8), pixels 0–255."""
    turned = ndimage.rotate(picture, rng.uniform(-25, 25), reshape=False, order=1)
    y, x = np.mgrid[:8, :8]
    hole = (y - rng.uniform(1, 6)) ** 2 + (x - rng.uniform(1, 6)) ** 2 < 2.6**2
    return np.clip(turned * hole + rng.normal(0, 30, (8, 8)), 0, 255)


def digits(rows):
    data = load_digits()
    pictures = data.images[rows] / 16 * 255
    views = np.array([[look(picture) for _ in range(VIEWS)] for picture in pictures])
    return views[..., None].astype("uint8"), data.target[rows]


def objects(angles, sets):
    """Draws sets of views of each of 20 objects, taken from some angles."""
    with np.load(f"{os.environ['MM_KERAS_DATA']}/coil20/views.npz") as file:
        pictures = file["image"][:, angles]
    labels = np.repeat(np.arange(20), sets)
    chosen = rng.integers(0, len(angles), (len(labels), VIEWS))
    views = pictures[labels[:, None], chosen] + rng.normal(0, 30, (len(labels), VIEWS, 32, 32))
    return np.clip(views, 0, 255)[..., None].astype("uint8"), labels


if FULL:
    order, shape, classes = rng.permutation(54), (32, 32, 1), 20
    train, test = objects(order[:4], 60), objects(order[4:], 20)  # other angles in the test
else:
    order, shape, classes = rng.permutation(1797), (8, 8, 1), 10
    train, test = digits(order[:1300]), digits(order[1300:])  # other digits in the test

spec = mm.Views(VIEWS, shape, backbone="SmallCNN")
some = {"views": test[0][:4]}
mm.plots.contact_sheet(some, [str(label) for label in test[1][:4]], {"views": spec})

# %% [markdown]
# ## Train
#
# All views go through one backbone in one call, so that more views cost no more weights. The
# features are pooled across views by attention. `view_dropout` leaves out single views in
# training: use it where fewer will be there later.

# %%
model = mm.build_mvcnn(
    {"views": spec},
    num_classes=classes,
    width=64,
    view_pooling="attention",
    view_dropout=0.5,
    saliency=True,
)
model.compile(
    keras.optimizers.Adam(3e-3),
    {"label": mm.losses.classification()},
    jit_compile=False,
)
epochs = 12 if FULL else 8
history = model.fit(
    {"views": train[0]}, {"label": train[1]}, batch_size=50, epochs=epochs, verbose=0
)
print("training loss", [round(loss, 2) for loss in history.history["loss"]])

# %% [markdown]
# ## How many views does it take?
#
# The number of views is part of the data, not of the weights: `with_views` gives the same network
# for another number. The dashed line is chance.

# %%
accuracy = {}
for count in (1, 2, 4, VIEWS):
    fewer = mm.with_views(model, count)
    scores = fewer.predict({"views": test[0][:, :count]}, batch_size=200, verbose=0)["label"]
    accuracy[count] = np.mean(scores.argmax(axis=1) == test[1])
    print(f"{count} view{'s' * (count > 1)}: test accuracy {100 * accuracy[count]:.1f} %")

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(list(accuracy), list(accuracy.values()), "o-")
axes.axhline(1 / classes, color="0.6", linestyle="--")
axes.set(xlabel="views", ylabel="accuracy", title=f"n = {len(test[1])} objects", ylim=(0, 1))
plt.show()

# %% [markdown]
# ## Is that the network, or just more chances?
#
# The plain rival: classify each view by itself and average the scores. With independent noise it
# can be as good, and sometimes better; measure it on your own data before you pay for a network.

# %%
single = mm.with_views(model, 1)
each = single.predict({"views": test[0].reshape(-1, 1, *shape)}, batch_size=500, verbose=0)["label"]
averaged = each.reshape(len(test[1]), VIEWS, classes).mean(axis=1)
print(
    f"scores of single views, averaged: {100 * np.mean(averaged.argmax(axis=1) == test[1]):.1f} %"
)
print(f"features of {VIEWS} views, pooled:    {100 * accuracy[VIEWS]:.1f} %")

# %% [markdown]
# ## Which view mattered?
#
# With `saliency=True` the model says for each object what share each view has in the pooled
# features. Are views in which something is to be seen above those that show a corner?

# %%
shares = model.predict({"views": test[0][:200]}, verbose=0)["views_saliency"]
row = int(np.argmax(shares.max(axis=1)))
figure, axes = plt.subplots(1, VIEWS, figsize=(8, 1.8), layout="constrained")
for axis, view, share in zip(axes, test[0][row], shares[row], strict=True):
    axis.imshow(view[..., 0], cmap="gray", vmin=0, vmax=255)
    axis.set(title=f"{100 * share:.0f} %", xticks=[], yticks=[])
figure.suptitle(f"Views of one object (a {test[1][row]}) and their shares", fontsize=10)
plt.show()

# %% [markdown]
# ## Go on
#
# `pool_after="stage2_pool"` pools within the backbone; `mm.Views(…, optional_views=True)` takes
# objects that lack views; a table or a text can stand beside the views as a further modality.
