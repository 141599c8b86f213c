"""Small multi-view networks and pictures for them."""

import keras
import numpy as np

import mm_keras as mm

SHAPE = (8, 8, 1)
SMALL = mm.Views(3, SHAPE, backbone="SmallCNN")
# Four samples of three views: all, two, one, none.
PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], "bool")


def cnn(name="mine"):
    """A CNN with a layer to pool after, and a residual branch after that."""
    x = inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, strides=2, name="one")(x)
    x = middle = keras.layers.BatchNormalization(momentum=0.8, name="middle")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="two")(x)
    return keras.Model(inputs, keras.layers.Add(name="join")([x, middle]), name=name)


def views(count=3, **options):
    return mm.Views(count, SHAPE, **{"backbone": cnn(), **options})


def build(spec=None, **options):
    """Returns a model whose biases and statistics are not those of a new one."""
    modalities = {"views": spec or views()}
    model = mm.build_mvcnn(modalities, mm.Regression(2), **{"width": 4, **options})
    return perturb(model)


def perturb(model):
    noise = np.random.default_rng(0)
    model.set_weights(
        [w + noise.uniform(0.1, 0.5, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    return model


def pictures(count=3, size=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 2, (size, count, *SHAPE)).astype("float32")


def predict(model, x, present=None):
    inputs = {"views": x} if present is None else {"views": x, "views_present": present}
    return np.asarray(model(inputs)["label"])


def assert_same(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
