"""Integrated gradients: closed forms, completeness, absence, baselines, known places, backends."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.evaluate import integrated_gradients
from tests.evaluate import located
from tests.evaluate.mixed import INPUTS, MODALITIES, mixed_model

RNG = np.random.default_rng(0)


def test_of_a_linear_model_they_are_its_terms():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    model = keras.Model([a, b], keras.layers.Dense(2, activation="softmax", name="d")(joined))
    inputs = {"a": RNG.normal(size=(4, 3)), "b": RNG.normal(size=(4, 2))}
    baseline = {"a": RNG.normal(size=(4, 3)), "b": np.array([1.0, -1.0])}
    found = integrated_gradients(
        model, inputs, head="output", target=1, baseline=baseline, steps=1, logits=True
    )
    kernel = model.get_layer("d").kernel.numpy()[:, 1]
    for name, part in (("a", kernel[:3]), ("b", kernel[3:])):
        expected = (inputs[name] - baseline[name]) * part
        np.testing.assert_allclose(found.values[name], expected, atol=1e-6)
    np.testing.assert_allclose(found.gap, 0, atol=1e-5)
    after = integrated_gradients(model, inputs, head="output", target=1, baseline=baseline)
    probabilities = model.predict([inputs["a"], inputs["b"]], verbose=0)[:, 1]
    np.testing.assert_allclose(after.whole, probabilities, atol=1e-6)


def test_of_a_square_the_midpoints_are_exact_and_the_path_is_straight():
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    model = keras.Model([a, b], keras.layers.Multiply()([a, b]))
    inputs = {"a": np.array([[3.0]]), "b": np.array([[5.0]])}
    both = integrated_gradients(model, inputs, head="output", steps=3)
    assert both.values["a"] == pytest.approx(7.5) == both.values["b"]
    alone = integrated_gradients(model, inputs, "a", "output", baseline={"a": 1.0}, steps=3)
    assert list(alone.values) == ["a"]
    assert alone.values["a"] == pytest.approx(10)  # b stays what it is
    assert (alone.whole, alone.without) == (15, 5)


def test_words_and_columns_are_attributed_at_their_embeddings():
    table = MODALITIES["table"]
    text = mm.Text(6, 20, embedding=8)
    model = mm.build_mcnn({"table": table, "text": text}, 3, width=4)
    model.set_weights([w + 0.3 * RNG.normal(size=w.shape) for w in model.get_weights()])
    names = ("table", "table_present", "text")
    inputs = {name: INPUTS[name] for name in names}
    found = integrated_gradients(model, inputs, target=0, steps=64, logits=True)
    assert {name: value.shape for name, value in found.values.items()} == {
        "table": (5, 5),
        "text": (5, 6),
    }
    assert np.abs(found.gap).max() < 0.03 * np.abs(found.whole - found.without).max()
    assert np.abs(found.values["table"][1:]).min(axis=0).all(), "crosses have a part too"
    assert not found.values["table"][0].any(), "absent"
    assert not found.values["text"][inputs["text"] == 0].any(), "padding"

    # With the sample itself as the baseline nothing has moved.
    same = {name: inputs[name] for name in ("table", "text")}
    still = integrated_gradients(model, inputs, target=0, baseline=same, steps=2)
    assert not any(value.any() for value in still.values.values())
    # One word, or one category, is another: that alone has moved.
    for name, place, value in (("text", 2, 9), ("table", 3, 2), ("table", 4, 3), ("table", 1, 1.0)):
        other = {**same, name: same[name].copy()}
        other[name][:, place] = np.where(same[name][:, place] == value, value - 1, value)
        one = integrated_gradients(model, inputs, target=0, baseline=other)
        moved = one.values[name].any(axis=0)
        assert moved.tolist() == [column == place for column in range(len(moved))], name
        changed = model.predict({**inputs, **other}, verbose=0)["label"]
        np.testing.assert_allclose(one.without, changed[:, 0], atol=1e-5)
        assert np.abs(one.gap).max() < 0.01


def test_completeness_over_all_modalities_and_steps():
    """The gap shrinks with the steps, and absent modalities have exactly nothing."""
    few, many = (
        integrated_gradients(mixed_model(), INPUTS, target=1, steps=steps, logits=True)
        for steps in (2, 64)
    )
    reach = np.abs(many.whole - many.without).mean()
    assert np.abs(many.gap).mean() < 0.05 * reach
    assert np.abs(many.gap).mean() < 0.25 * np.abs(few.gap).mean()
    total = sum(many.totals.values()) + many.without
    np.testing.assert_allclose(total + many.gap, many.whole, atol=1e-5)
    shapes = {name: value.shape[1:] for name, value in many.values.items()}
    assert shapes == {name: INPUTS[name].shape[1:] for name in MODALITIES} | {"sound": (26, 16)}
    for name in ("image", "sound", "table", "text"):
        present = INPUTS[f"{name}_present"][:, 0]
        assert not many.values[name][~present].any()
        assert many.values[name][present].reshape(present.sum(), -1).any(axis=1).all()
    assert not many.values["views"][~INPUTS["views_present"]].any()
    assert many.values["views"][INPUTS["views_present"]].any()


def test_what_is_absent_may_hold_anything_and_batches_change_nothing():
    names = ("image", "views")
    model = mm.build_mcnn({name: MODALITIES[name] for name in names}, 3, width=4)
    clean = {name: INPUTS[name] for name in model.input}
    noise = dict(clean)
    for name in names:
        present = clean[f"{name}_present"].reshape(5, -1, *[1] * (clean[name].ndim - 2))
        noise[name] = np.where(present, clean[name], np.nan)
    options = {"target": np.array([0, 1, 2, 0, 1]), "steps": 2}
    grey = integrated_gradients(model, clean, baseline={"image": 127.5}, **options)
    again = integrated_gradients(model, noise, baseline={"image": 127.5}, batch_size=3, **options)
    for name in names:
        np.testing.assert_allclose(again.values[name], grey.values[name], atol=1e-6)
    np.testing.assert_allclose(again.gap, grey.gap, atol=1e-5)
    black = integrated_gradients(model, clean, "image", **options)
    assert np.abs(black.values["image"] - grey.values["image"]).max() > 1e-4


def test_they_lie_on_the_digit():
    inputs, labels, corners, halves = located.samples("test", 40, 2)
    found = integrated_gradients(located.model(), inputs, target=labels, steps=12)
    mass = located.mass_in_corners(found.values["image"].sum(axis=-1))
    for corner in np.ndindex(2, 2):  # a quarter would be chance
        own = (corners == corner).all(axis=1)
        assert mass[own, corner[0], corner[1]].mean() > 0.6, corner
    mass = located.mass_in_halves(found.values["sound"])
    for half in (0, 1):
        assert mass[halves == half, half].mean() > 0.6, half
    assert np.median(sum(found.totals.values())) > 0.5, "they speak for the class"
    assert np.abs(found.gap).mean() < 0.15


def test_errors():
    model = mm.build_mcnn({"a": mm.Features(3), "b": mm.Features(2)}, 2, width=4)
    inputs = {"a": np.ones((4, 3)), "b": np.ones((4, 2))}

    def call(**changed):
        return integrated_gradients(**{"model": model, "inputs": inputs, **changed})

    for changed, message in (
        ({"modalities": "c"}, r"`modalities` must be one of \['a', 'b'\]"),
        ({"modalities": []}, "`modalities` must be one name or more, each once, or None"),
        ({"modalities": ["a", "a"]}, "`modalities` must be one name or more, each once"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"baseline": "black"}, "`baseline` must be 'zeros', or {modality: a number"),
        ({"baseline": {"c": 0}}, r"`baseline` must name modalities that are attributed, \['a', 'b"),
        ({"modalities": "b", "baseline": {"a": 0}}, r"`baseline` must name modalities that are"),
        (
            {"baseline": {"a": np.ones(2)}},
            r"`baseline\['a'\]` must be a number, or of shape \(3,\)",
        ),
        ({"baseline": {"a": np.ones((2, 3))}}, r"`baseline\['a'\]` must have as many samples"),
        ({"baseline": {"a": np.ones((9, 3))}}, r"`baseline\['a'\]` must have as many samples"),
        ({"target": 2}, "`target` must be classes from 0 to 1"),
        ({"head": "a"}, r"`head` must be one of \['label'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**changed)
    ids = keras.Input((4,), dtype="int32", name="ids")
    words = keras.layers.Embedding(5, 2, mask_zero=True)(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(words)  # reads the mask that Keras attaches
    counted = keras.layers.Dense(2, name="d")(pooled)
    found = integrated_gradients(
        keras.Model(ids, counted), np.array([[1, 2, 0, 4]]), head="output", target=0, steps=1
    )
    assert (found.values["ids"] != 0).tolist() == [[True, True, False, True]]
    np.testing.assert_allclose(found.gap, 0, atol=1e-6)
    one_hot = keras.layers.CategoryEncoding(5, output_mode="multi_hot")(ids)
    counts = keras.Model(ids, {"label": keras.layers.Dense(2)(one_hot)})
    with pytest.raises(ValueError, match="`modalities` must be numbers that have a gradient, or"):
        integrated_gradients(counts, np.array([[1, 2, 2, 4]]))


SCRIPT = """
import sys, keras, numpy as np
import mm_keras as mm
model = keras.models.load_model(sys.argv[1])
inputs = dict(np.load(sys.argv[2]))
found = mm.evaluate.integrated_gradients(model, inputs, target=1, steps=2)
maps = mm.evaluate.attention_maps(model, inputs)
np.savez(sys.argv[3], whole=found.whole, **found.values,
         **{name.replace("/", "."): one.weights for name, one in maps.items()})
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_other_backends_say_the_same(tmp_path):
    specs = {"f": MODALITIES["f"], "text": mm.Text(6, 20, embedding=4)}
    model = mm.build_mcnn(specs, 3, width=4, pooling="attention")
    model.set_weights([w + 0.1 * RNG.normal(size=w.shape) for w in model.get_weights()])
    inputs = {name: INPUTS[name] for name in model.input}
    files = [str(tmp_path / name) for name in ("model.keras", "inputs.npz", "found.npz")]
    model.save(files[0])
    np.savez(files[1], **inputs)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *files],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.stdout.split()[-1] == "jax"
    found = dict(np.load(files[2]))
    here = mm.evaluate.integrated_gradients(model, inputs, target=1, steps=2)
    maps = mm.evaluate.attention_maps(model, inputs)
    expected = {
        "whole": here.whole,
        **here.values,
        **{name.replace("/", "."): one.weights for name, one in maps.items()},
    }
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=2e-4, err_msg=name)
