"""The share that each view has in the pooled features."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from tests.models.multi_view import (
    PRESENT,
    SHAPE,
    build,
    cnn,
    pictures,
    predict,
    views,
)


@pytest.mark.parametrize("view_pooling", VIEW_POOLINGS)
def test_saliency(view_pooling):
    spec = views(optional_views=True)
    model = build(spec, view_pooling=view_pooling, saliency=True)
    x = pictures()
    plain = build(spec, view_pooling=view_pooling)  # with the same backbone
    plain.set_weights(model.get_weights())
    outputs = mm.inference_model(model)({"views": x, "views_present": PRESENT})
    assert sorted(outputs) == ["label", "views_saliency"]
    saliency = np.asarray(outputs["views_saliency"])
    assert saliency.dtype == "float32"
    assert not saliency[~PRESENT].any()
    np.testing.assert_allclose(saliency.sum(axis=1), PRESENT.any(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(predict(plain, x, PRESENT), outputs["label"])


def test_saliency_of_the_maximum_counts_the_features_that_a_view_wins():
    model, x = build(saliency=True), pictures(size=1)
    maps = np.asarray([model.get_layer("views_backbone")(x[:, view]) for view in range(3)])
    share = [(maps.argmax(axis=0) == view).mean() for view in range(3)]
    found = model({"views": x})["views_saliency"]
    np.testing.assert_allclose(found, [share], rtol=1e-5)
    assert min(share) > 0


def test_saliency_of_several_modalities_keeps_their_names():
    modalities = {"b": views(2), "a": views(3), "c": mm.Features(3)}
    model = mm.build_mvcnn(modalities, 2, width=4, saliency=True, auxiliary_heads=True)
    shapes = {name: output.shape[1:] for name, output in model.output.items()}
    expected = {"a_saliency": (3,), "b_saliency": (2,)}
    labels = dict.fromkeys(["label", "a_label", "b_label", "c_label"], (2,))
    assert shapes == expected | labels
    assert set(mm.inference_model(model).output) == {"label", *expected}


def bars(size, horizontal, rng):
    """Pictures of one bar at a random place."""
    x = np.zeros((size, *SHAPE), "float32")
    for picture, place in zip(x, rng.integers(0, 7, size), strict=True):
        picture[place : place + 2] = 255
    return np.where(horizontal.reshape(-1, 1, 1, 1), x, x.swapaxes(1, 2))


@pytest.mark.parametrize("view_pooling", ["max", "attention"])
def test_a_view_that_shows_something_ranks_above_blank_ones(view_pooling):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels, place = rng.integers(0, 2, 400), rng.integers(0, 3, 400)
    x = np.zeros((400, 3, *SHAPE), "float32")
    x[np.arange(400), place] = bars(400, labels == 1, rng)
    model = mm.build_mvcnn(
        {"views": views(backbone=cnn())}, 2, width=8, view_pooling=view_pooling, saliency=True
    )
    loss = {"label": mm.losses.classification()}
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit({"views": x[:300]}, {"label": labels[:300]}, batch_size=50, epochs=20, verbose=0)
    found = model.predict({"views": x[300:]}, verbose=0)
    assert (found["label"].argmax(axis=1) == labels[300:]).mean() > 0.95
    assert (found["views_saliency"].argmax(axis=1) == place[300:]).mean() > 0.8  # 0.33 by chance
