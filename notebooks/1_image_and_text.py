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
# # Image and text: photos of products and their titles
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/1_image_and_text.ipynb)
#
# A shop sorts its products by photo and title. Each tells something that the other does not, and
# some products have no title. You will read a table of files, train on it, and see what is left
# when the title is missing.

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
# True: 7,157 photos of fashion products with titles, 64×64 pixels, from the folder
# `fashion_products/` below the one that the variable MM_KERAS_DATA names: `images.zip` and
# `products.csv` with the columns image, title, subCategory (Kaggle, "Fashion Product Images").
FULL = False

import tempfile
import zipfile
from pathlib import Path

import keras
import matplotlib.image
import numpy as np

import mm_keras as mm

keras.utils.set_random_seed(0)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A catalogue
#
# Here it is drawn and written for this notebook, so that nothing is downloaded: discs, boards and
# rods in random colours, among noise. A plate looks like a clock and a tray like a tablet: the
# photo tells the *shape*. Titles tell the *use*, kitchen or electronics, and only one in four names
# the thing itself. So neither is enough. Real products are more varied; the code is the same.

# %%
CLASSES = ["plate", "clock", "tray", "tablet", "spoon", "cable"]  # shape: index // 2, use: % 2
COLOURS = {"red": (220, 60, 50), "blue": (60, 90, 220), "green": (60, 170, 80), "grey": (140,) * 3}
USES = [
    ["for the kitchen", "dishwasher safe", "for eight guests", "brings dinner to the table"],
    ["with battery", "charged in an hour", "two years of warranty", "for desk and office"],
]
rng = np.random.default_rng(0)


def draw(shape, colour):
    """Returns a photo of 24 × 24 pixels."""
    y, x = np.mgrid[:24, :24] - rng.uniform(10, 14, 2)[:, None, None]
    angle = rng.uniform(-0.3, 0.3)
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    size = rng.uniform(0.8, 1.1)
    inside = [
        x**2 + y**2 < (8 * size) ** 2,
        (abs(x) < 9 * size) & (abs(y) < 6 * size),
        (abs(x) < 2 * size) & (abs(y) < 10 * size),
    ][shape]
    photo = np.where(inside[..., None], np.array(colour), rng.uniform(150, 230, 3))
    return np.clip(photo + rng.normal(0, 35, photo.shape), 0, 255).astype("uint8")


def write_title(kind, colour):
    words = [rng.choice(["new", "classic", "light", "our best"]), colour]
    if rng.random() < 0.25:
        words.append(CLASSES[kind])
    return " ".join([*words, rng.choice(USES[kind % 2])])


def make_catalogue(count):
    columns = {"image": [], "title": [], "kind": []}
    for number in range(count):
        kind, colour = rng.integers(6), rng.choice(list(COLOURS))
        matplotlib.image.imsave(folder / f"{number}.png", draw(kind // 2, COLOURS[colour]))
        columns["image"].append(f"{number}.png")
        columns["title"].append("" if rng.random() < 0.1 else write_title(kind, colour))
        columns["kind"].append(CLASSES[kind])
    return mm.data.split_table(columns, {"train": 0.6, "test": 0.4}, stratify="kind")


def read_catalogue(products):
    """The real one. The full title names the class, so that only its first two words are kept."""
    zipfile.ZipFile(products / "images.zip").extractall(folder)
    found = {path.name: str(path) for path in folder.rglob("*.jpg")}
    columns = mm.data.read_table(products / "products.csv")
    words = [title.split() for title in columns["title"]]
    table = {
        "image": [found[name] for name in columns["image"]],
        "title": [" ".join(own[:2]) for own in words],
        "kind": columns["subCategory"],
        "group": [" ".join(own[:3]) for own in words],  # nearly the same product: not in both parts
    }
    return mm.data.split_table(table, {"train": 0.8, "test": 0.2}, group="group")


if FULL:
    parts = read_catalogue(Path(os.environ["MM_KERAS_DATA"]) / "fashion_products")
    kinds, shape = sorted({*parts["train"]["kind"], *parts["test"]["kind"]}), (64, 64, 3)
else:
    parts, kinds, shape = make_catalogue(1500), CLASSES, (24, 24, 3)
for row in range(4):
    print({name: column[row] for name, column in parts["train"].items()})

# %% [markdown]
# ## From the table to samples
#
# Specs say what the columns hold: `image` the path of a file, `title` a text, whose vocabulary is
# learnt from the training part. An empty cell means that the modality is absent, which `optional`
# allows; the sample then says so in the input `title_present`.

# %%
title = mm.Text(max_tokens=12, vocabulary_size=2000, optional=True)
specs = {
    "image": mm.Image(shape, backbone="SmallCNN", optional=True),
    "title": title.adapt([text for text in parts["train"]["title"] if text]),
}
train, test = (
    mm.data.from_table(
        parts[split], specs, labels="kind", classes=kinds, root=folder, shuffle=split == "train"
    )
    for split in ("train", "test")
)
inputs, labels = next(iter(test.batch(6)))
mm.plots.contact_sheet(inputs, [kinds[label] for label in labels], specs)

# %% [markdown]
# ## One model for the photo, one for the title, one for both
#
# A model takes what it needs: the datasets are mapped to its inputs. The title's words are embedded
# and averaged (`backbone="Words"`, the default). The learning rate falls to 0 towards the end, so
# that the last epoch is no matter of luck.


# %%
EPOCHS = 8


def only(data, names):
    wanted = [name + end for name in names for end in ("", "_present")]
    return data.map(lambda inputs, label: ({key: inputs[key] for key in wanted}, label)).cache()


def learn(*names):
    model = mm.build_mcnn(
        {name: specs[name] for name in names},
        num_classes=len(kinds),
        width=64,
        modality_dropout=0.2 if len(names) > 1 else 0.0,
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=EPOCHS * len(train) // 32)
    model.compile(
        keras.optimizers.Adam(rate),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=False,
    )
    batches = only(train, names).shuffle(4000, seed=0).batch(32)
    model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0)
    figures = model.evaluate(only(test, names).batch(200), verbose=0, return_dict=True)
    print(f"{' + '.join(names):15} test accuracy {100 * figures['accuracy']:.1f} %")
    return model


learn("image")
learn("title")
both = learn("image", "title")

# %% [markdown]
# ## What if something is missing?
#
# The same model, with every set of its modalities. It was trained for that: `modality_dropout`
# leaves out a whole modality now and then. An absent modality has no effect on the prediction.

# %%
rows = mm.evaluate.presence_ablation(both, test.batch(200))
mm.plots.presence_chart(rows)

# %% [markdown]
# Which products are mixed up by photo alone? Look at the blocks of two along the diagonal: things
# that look alike.

# %%
images, labels = next(iter(test.batch(len(test))))
images["title_present"] = np.zeros((len(labels), 1), bool)
predicted = both.predict(images, batch_size=200, verbose=0)["label"].argmax(axis=1)
mm.plots.confusion_matrix(labels, predicted, kinds, "Without titles")

# %% [markdown]
# ## Go on
#
# `on_error="absent"` in `from_table` takes a broken photo as a missing one and reports it;
# `mm.build_cmn` finds the photo for a title; `build_dfn` decides for each product which of the two
# to trust.
