"""Absent modalities: no effect on predictions, whatever they hold, and no gradient."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm

SPECS = {
    "image": mm.Image((8, 8, 1), backbone="SmallCNN", optional=True),
    "audio": mm.Audio(600, 8000, mel_bins=8, optional=True),
    "vector": mm.Features((2, 3), optional=True),
    "text": mm.Text(4, 9, backbone="Conv1D", embedding=4, optional=True),
    "table": mm.Tabular(numeric=("n", "m"), normalize=False, optional=True),
    "video": mm.Video(2, (8, 8, 1), backbone="SmallCNN", temporal="gru", optional=True),
    "views": mm.Views(2, (8, 8, 1), backbone="SmallCNN", optional=True),
}


def content(name, size, seed=0):
    spec, noise = SPECS[name], np.random.default_rng(seed)
    if name == "text":
        return noise.integers(1, 9, (size, 4)).astype("int32")
    scale = 255 if "pixels" in spec.units else 1
    return scale * noise.uniform(0, 1, (size, *spec.input_shape)).astype("float32")


def batch(names, patterns, seed=0):
    """Returns inputs, one sample for each pattern of presence."""
    x = {}
    for index, name in enumerate(names):
        x[name] = content(name, len(patterns), seed)
        x[f"{name}_present"] = np.array([[pattern[index]] for pattern in patterns])
    return x


def spoil(x, with_what):
    """Returns inputs with absent samples filled with something else."""
    spoilt = dict(x)
    for name in [name for name in x if not name.endswith("_present")]:
        absent = ~x[f"{name}_present"][:, 0]
        value = x[name].copy()
        if value.dtype == "float32":
            value[absent] = with_what
        else:
            value[absent] = 8
        spoilt[name] = value
    return spoilt


def patterns(count):
    return list(itertools.product([True, False], repeat=count))


def perturbed(model):
    """Gives biases and statistics random values, so that zeros in do not mean zeros out."""
    noise = np.random.default_rng(0)
    model.set_weights(
        [w + noise.uniform(0.1, 0.5, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    return model


def check_absence(model, names):
    x = batch(names, patterns(len(names)))
    expected = model(x)["label"].numpy()
    assert np.isfinite(expected).all()
    for what in (0.0, 77.0, np.nan, np.inf):
        np.testing.assert_array_equal(model(spoil(x, what))["label"], expected)
    everything = model(batch(names, [[True] * len(names)] * len(expected)))["label"].numpy()
    changed = np.abs(everything - expected).max(axis=1) > 1e-5
    np.testing.assert_array_equal(changed, [not all(pattern) for pattern in patterns(len(names))])


@pytest.mark.parametrize("name", SPECS)
def test_absent_content_has_no_effect(name):
    names = [name, "text" if name == "vector" else "vector"]
    model = mm.build_mcnn({n: SPECS[n] for n in names}, mm.Regression(2), width=4)
    check_absence(perturbed(model), names)


@pytest.mark.parametrize("fusion", mm.layers.FUSIONS)
def test_absent_content_has_no_effect_on_any_fusion(fusion):
    names = ["vector", "table", "text"]
    model = mm.build_mcnn(
        {n: SPECS[n] for n in names}, mm.Regression(2), width=4, fusion=fusion, hidden=(4,)
    )
    model = perturbed(model)
    x = batch(names, patterns(3))
    expected = model(x)["label"].numpy()
    assert np.isfinite(expected).all()
    for what in (0.0, np.nan):
        np.testing.assert_array_equal(model(spoil(x, what))["label"], expected)


def test_presence_inputs_exist_for_optional_modalities_only():
    model = mm.build_mcnn({"image": SPECS["image"], "other": mm.Features(3)}, 2)
    assert sorted(model.input) == ["image", "image_present", "other"]
    assert model.input["image_present"].dtype == "bool"
    assert model.input["image_present"].shape == (None, 1)


def test_a_prediction_does_not_depend_on_the_samples_beside_it():
    names = ["image", "vector"]
    model = perturbed(mm.build_mcnn({n: SPECS[n] for n in names}, mm.Regression(2), width=4))
    x = batch(names, patterns(2))
    together = model(x)["label"].numpy()
    for row in range(4):
        alone = model({name: value[row : row + 1] for name, value in x.items()})["label"]
        np.testing.assert_allclose(alone, together[row : row + 1], atol=1e-5)


@pytest.mark.parametrize("auxiliary_heads", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_an_absent_modality_gets_no_gradient(name, auxiliary_heads):
    other = "text" if name == "vector" else "vector"
    modalities = {n: SPECS[n] for n in (name, other)}
    model = mm.build_mcnn(modalities, mm.Regression(2), width=4, auxiliary_heads=auxiliary_heads)
    for absent in (True, False):
        x = spoil(batch([name, other], [[not absent, True]] * 3), np.nan)
        weights = [
            w
            for layer in model.layers
            if layer.name.startswith(f"{name}_") and not layer.name.startswith(f"{name}_label")
            for w in layer.trainable_weights
        ]
        assert weights
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = sum(tf.reduce_sum((output - 1) ** 2) for output in outputs.values())
        found = tape.gradient(loss, [w.value for w in weights], unconnected_gradients="zero")
        found = [tf.convert_to_tensor(gradient).numpy() for gradient in found]
        assert all(np.isfinite(gradient).all() for gradient in found)
        moving = [gradient.any() for gradient in found]
        assert any(moving) == (not absent)


@pytest.mark.parametrize("modality_dropout", [0.0, 0.5])
def test_training_with_absent_samples_stays_finite(modality_dropout):
    names = ["image", "text"]
    model = mm.build_mcnn(
        {n: SPECS[n] for n in names}, 3, width=4, modality_dropout=modality_dropout
    )
    model.compile(keras.optimizers.Adam(0.01), mm.losses.classification(), run_eagerly=True)
    x = spoil(batch(names, patterns(2) * 2), np.nan)
    for _ in range(2):
        loss = model.train_on_batch(x, np.arange(8) % 3)
    assert np.isfinite(loss)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
