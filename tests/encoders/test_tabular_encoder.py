"""Tables: columns, deep and wide, against NumPy; the wide part costs one lookup a cross."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.encoders import TabularEncoder

COLUMNS = {"n": [10.0, 20.0, 40.0], "m": [1.0, 3.0, 2.0], "a": ["x", "y", "?"], "b": ["z"] * 3}
KINDS = {
    "columns": {},
    "deep": {"deep": (6, 5)},
    "wide": {"wide": (("a", "b"),)},
    "deep_and_wide": {"deep": (6, 5), "wide": (("a", "b"), ("b", "a"))},
}


def table(normalize=False, **options):
    return mm.Tabular(
        numeric=("n", "m"),
        categorical={"a": ("x", "y"), "b": ("z",)},
        embedding=3,
        wide_buckets=50,
        wide_width=2,
        normalize=normalize,
        **options,
    )


def build(spec, units=3, width=4):
    model = mm.build_mcnn({"t": spec}, mm.Regression(units), width=width)
    noise = np.random.default_rng(0)
    model.set_weights([noise.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def weights(model, name):
    return [w.numpy() for w in model.get_layer(f"t_{name}").weights]


def deep_positions(model, spec, rows):
    """The encoder without its wide part, in NumPy."""
    numbers, ids = rows[:, :2], rows[:, 2:4].astype(int)
    if spec.mean:
        numbers = (numbers - spec.mean) / np.sqrt(spec.variance)
    scale, shift, table_rows = weights(model, "embedding")
    x = np.concatenate(
        [numbers[..., None] * scale + shift, table_rows[ids + np.array([0, 3])]], axis=1
    )
    if spec.deep:
        x = x.reshape(len(x), -1)
        for depth in range(1, len(spec.deep) + 1):
            kernel, bias = weights(model, f"deep_{depth}")
            x = np.maximum(x @ kernel + bias, 0)
        x = x[:, None]
    kernel, bias = weights(model, "projection")
    return x @ kernel + bias


def wide_position(model, spec, rows):
    """The wide part, in NumPy: `[Σ rows, numbers] W`, without an activation anywhere."""
    (hashed,) = weights(model, "hashed")
    looked_up = sum(
        hashed[index * spec.wide_buckets + rows[:, 4 + index].astype(int)]
        for index in range(len(spec.wide))
    )
    (kernel,) = weights(model, "wide")
    return (np.concatenate([looked_up, rows[:, :2]], axis=1) @ kernel)[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_an_affine_map_of_the_mean_of_deep_and_wide(kind):
    spec = table(activation=None, **KINDS[kind])
    model = build(spec)
    rows = spec.encode(COLUMNS)
    x = deep_positions(model, spec, rows)
    if spec.wide:
        x = np.concatenate([x, wide_position(model, spec, rows)], axis=1)
    kernel, bias = model.get_layer("label_logits").get_weights()
    expected = x.mean(axis=1) @ kernel + bias
    np.testing.assert_allclose(model({"t": rows})["label"], expected, rtol=1e-4, atol=1e-4)


def test_activation_leaves_the_wide_part_linear():
    spec = table(deep=(6,), wide=(("a", "b"),))
    encoder = TabularEncoder(spec, 4, "t")
    inputs = keras.Input(spec.input_shape)
    model = keras.Model(inputs, encoder(inputs)[0])
    noise = np.random.default_rng(0)
    model.set_weights([noise.normal(0, 1, w.shape) for w in model.get_weights()])
    rows = spec.encode(COLUMNS)
    features = model(rows).numpy()
    assert features[:, 0].min() >= 0
    np.testing.assert_allclose(features[:, 1:], wide_position(model, spec, rows), rtol=1e-4)
    assert features[:, 1].min() < 0


def test_numeric_columns_are_normalised_by_what_adapt_learnt():
    spec = table(activation=None, normalize=True).adapt(COLUMNS)
    model = build(spec)
    rows = spec.encode(COLUMNS)
    kernel, bias = model.get_layer("label_logits").get_weights()
    expected = deep_positions(model, spec, rows).mean(axis=1) @ kernel + bias
    np.testing.assert_allclose(model({"t": rows})["label"], expected, rtol=1e-4, atol=1e-4)


def test_units_of_a_numeric_column_do_not_matter_once_adapted():
    results = []
    for factor in (1.0, 1000.0):
        columns = {**COLUMNS, "n": [factor * value + factor for value in COLUMNS["n"]]}
        spec = table(wide=(("a", "b"),), normalize=True).adapt(columns)
        results.append(build(spec)({"t": spec.encode(columns)})["label"].numpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"numeric": ("n",)},
        {"categorical": {"a": ("x",)}},
        {"numeric": ("n",), "deep": (4,)},
        {"categorical": {"a": ("x",), "b": ("z",)}, "wide": (("a", "b"),)},
    ],
    ids=["numbers", "categories", "deep_numbers", "wide_categories"],
)
def test_tables_of_one_kind_of_column(options):
    spec = mm.Tabular(**options, normalize=False)
    rows = spec.encode(COLUMNS)
    predictions = build(spec)({"t": rows})["label"].numpy()
    assert len(np.unique(predictions.round(5), axis=0)) == len(np.unique(rows, axis=0))


def test_a_column_without_vocabulary_is_refused():
    spec = mm.Tabular(categorical={"a": None})
    with pytest.raises(ValueError, match=r"call `spec = spec.adapt\(columns\)`.*\['a'\]"):
        mm.build_mcnn({"t": spec}, 2)


def test_numbers_that_are_not_adapted_are_refused_unless_they_come_normalised():
    spec = mm.Tabular(numeric=("n", "m"))
    message = r"`numeric` of 't' must be adapted.*adapt\(columns\)`.*normalize=False.*\('n', 'm'\)"
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn({"t": spec}, 2)
    with pytest.raises(TypeError, match="`normalize` must be a bool"):
        mm.Tabular(numeric=("n",), normalize="no")
    adapted = spec.adapt(COLUMNS)
    assert build(adapted).get_layer("t_normalize")
    plain = build(dataclasses.replace(adapted, normalize=False))
    assert not any(layer.name == "t_normalize" for layer in plain.layers)
    assert mm.modalities_of(plain)["t"].mean == adapted.mean


def test_the_wide_part_touches_only_the_rows_looked_up():
    spec = mm.Tabular(
        categorical={"a": ("x",), "b": ("z",)},
        wide=(("a", "b"), ("b", "a")),
        wide_buckets=1_000_000,
        wide_width=1,
    )
    model = build(spec)
    rows = spec.encode(COLUMNS)
    table_rows = model.get_layer("t_hashed").rows
    assert table_rows.shape == (2_000_000, 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model({"t": rows}, training=True)["label"])
    gradient = tape.gradient(loss, table_rows.value)
    assert isinstance(gradient, tf.IndexedSlices)
    looked_up = {
        int(first + second)
        for row in rows
        for first, second in zip((0, 1_000_000), row[2:], strict=True)
    }
    assert set(gradient.indices.numpy().ravel()) == looked_up
    assert np.abs(gradient.values).min() > 0


def test_rows_of_the_wide_part_start_at_zero():
    model = mm.build_mcnn({"t": table(wide=(("a", "b"),))}, 2)
    assert not model.get_layer("t_hashed").rows.numpy().any()
