"""Non-local networks: what they can do that pooled features can't, their outputs and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.conformance.cases import MIXTURE, MIXTURE_BATCH, floats

TWO = {"left": mm.Features((5, 6)), "right": mm.Features((4, 6), optional=True)}
X = {
    "left": floats(3, 5, 6),
    "right": floats(3, 4, 6, seed=1),
    "right_present": np.array([[True], [False], [True]]),
}


def build(modalities=TWO, num_classes=3, **options):
    """A small model whose weights are off their start, the same ones for the same layers."""
    keras.utils.set_random_seed(0)
    model = mm.build_nasn(modalities, num_classes, **{"width": 8, **options})
    model.set_weights(
        [
            w if "seed" in v.path or "variance" in v.path else w + 0.2 * floats(*w.shape, seed=i)
            for i, (v, w) in enumerate(zip(model.weights, model.get_weights(), strict=True))
        ]
    )
    return model


def predict(model, x=X):
    return {name: np.asarray(value) for name, value in model(x).items()}


def lookup(count, seed=0, keys=6, classes=4):
    """Questions, a key each; pairs of key and class in any order; the label is the key's class."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(keys), (count, 1)), axis=1)
    values = rng.integers(classes, size=(count, keys))
    asked, every = rng.integers(keys, size=count), np.arange(count)
    question = np.zeros((count, 3, keys))  # the key stands in one of three places
    question[every, rng.integers(3, size=count), order[every, asked]] = 1
    pairs = np.concatenate([np.eye(keys)[order], np.eye(classes)[values]], axis=-1)
    x = {"question": question.astype("float32"), "pairs": pairs.astype("float32")}
    return x, values[every, asked]


def test_finds_what_matches_where_pooled_features_can_t():
    x, y = lookup(2000)
    new_x, new_y = lookup(500, seed=1)
    accuracy = {}
    for name, builder, options in (
        ("cross", mm.build_nasn, {"scope": "cross"}),
        ("self", mm.build_nasn, {"scope": "self"}),
        ("mcnn", mm.build_mcnn, {"pooling": "attention"}),
    ):
        keras.utils.set_random_seed(0)
        specs = {"question": mm.Features((3, 6)), "pairs": mm.Features((6, 10))}
        model = builder(specs, 4, width=32, **options)
        model.compile(
            keras.optimizers.Adam(0.01),
            mm.losses.classification(),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model.fit(x, y, batch_size=100, epochs=10, verbose=0)
        accuracy[name] = model.evaluate(new_x, new_y, batch_size=500, verbose=0)[1]
    assert accuracy["cross"] > 0.9
    assert max(accuracy["self"], accuracy["mcnn"]) < 0.6


@pytest.mark.parametrize("scope", ["joint", "cross", "self"])
def test_attention_maps(scope):
    model = build(scope=scope, heads=2, subsample=2, attention=True, blocks=2)
    outputs = predict(model)
    windows = {"left": 3, "right": 2}
    for name, positions in (("left", 5), ("right", 4)):
        other = "right" if name == "left" else "left"
        sources = {"joint": ["left", "right"], "cross": [other], "self": [name]}[scope]
        keys = sum(windows[source] for source in sources)
        weights = outputs[f"{name}_attention"]
        assert weights.shape == (3, 2, positions, keys)
        there = X["right_present"][:, 0] | ("left" in sources)
        np.testing.assert_allclose(
            weights.sum(-1), np.broadcast_to(there[:, None, None], (3, 2, positions)), atol=1e-6
        )
        if scope == "joint":  # the absent sample's keys have no weight
            assert not np.any(weights[1, ..., 3:])
    without = build(scope=scope, heads=2, subsample=2, blocks=2)
    np.testing.assert_allclose(predict(without)["label"], outputs["label"], rtol=1e-5)


@pytest.mark.parametrize("scope", ["joint", "cross", "self"])
def test_absent_is_as_if_it_were_not_there(scope):
    """Without the other modality, what is left goes the way of a network of its own."""
    model = build(scope=scope)
    changed = {**X, "right": X["right"] * 9 + 1}
    np.testing.assert_array_equal(predict(model)["label"][1], predict(model, changed)["label"][1])
    assert np.abs(predict(model)["label"] - predict(model, changed)["label"])[[0, 2]].max() > 1e-3
    nothing = build({n: mm.Features(6, optional=True) for n in ("a", "b")}, scope=scope)
    x = {"a": X["left"][:, 0], "b": X["left"][:, 1]}
    x |= {f"{name}_present": np.zeros((3, 1), "bool") for name in "ab"}
    assert np.isfinite(predict(nothing, x)["label"]).all()


def test_starts_as_the_network_without_blocks():
    keras.utils.set_random_seed(0)
    model = mm.build_nasn(TWO, 3, width=8, positions=False)
    plain = mm.build_mcnn(TWO, 3, width=8, pooling="attention")
    weights = {v.path: w for v, w in zip(model.weights, model.get_weights(), strict=True)}
    plain.set_weights([weights[v.path] for v in plain.weights])
    np.testing.assert_allclose(predict(model)["label"], predict(plain)["label"], rtol=1e-5)


@pytest.mark.parametrize("form", ["embedded_gaussian", "dot_product"])
def test_weights_serve_a_model_in_chunks(form):
    whole, chunked = (build(form=form, chunk=chunk) for chunk in (None, 2))
    chunked.set_weights(whole.get_weights())
    np.testing.assert_allclose(predict(chunked)["label"], predict(whole)["label"], rtol=1e-4)


def test_positions_tell_the_order():
    x = {**X, "left": X["left"][:, ::-1]}
    unordered, ordered = build(positions=False), build()
    np.testing.assert_allclose(predict(unordered, x)["label"], predict(unordered)["label"], 1e-4)
    assert np.abs(predict(ordered, x)["label"] - predict(ordered)["label"]).max() > 1e-4
    assert {layer.name for layer in ordered.layers} >= {"left_position", "right_position"}


def test_each_option_reaches_the_blocks():
    model = build(blocks=2, form="dot_product", heads=2, inner_width=6, normalization=None)
    for depth in (1, 2):
        block = model.get_layer(f"non_local_{depth}").blocks["joint"]
        assert block.g.units == 6
        assert (block.form, block.heads, block.norm) == ("dot_product", 2, None)
    symmetric = build(symmetric=True, scale=False).get_layer("non_local_1").blocks["joint"]
    assert symmetric.theta is symmetric.phi
    assert symmetric.scale is False


def test_one_modality():
    model = build({"left": TWO["left"]}, attention=True)
    assert predict(model, {"left": X["left"]})["left_attention"].shape == (3, 1, 5, 5)


def test_inference_model_drops_what_only_training_needs(tmp_path):
    model = build(
        MIXTURE,
        auxiliary_heads=True,
        modality_dropout=0.3,
        attention=True,
        scope="cross",
    )
    shipped = mm.inference_model(model)
    assert sorted(shipped.output) == [
        "audio_attention",
        "extra_attention",
        "image_attention",
        "label",
    ]
    assert sorted(mm.inference_model(model, ["label"]).output) == ["label"]
    for name, value in predict(shipped, MIXTURE_BATCH).items():
        np.testing.assert_allclose(value, predict(model, MIXTURE_BATCH)[name], rtol=1e-5)


@pytest.mark.parametrize("chunk", [None, 2])
def test_saved_model(tmp_path, chunk):
    model = build(chunk=chunk, attention=chunk is None)
    mm.export(model, tmp_path / "m", format="saved_model", check=False)
    loaded = tf.saved_model.load(tmp_path / "m")
    served = loaded.serve({name: tf.constant(value) for name, value in X.items()})
    for name, value in predict(model).items():
        np.testing.assert_allclose(served[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scope": "all"}, ValueError, "`scope` must be one of"),
        ({"form": "embedded"}, ValueError, "`form` must be .*Did you mean 'embedded_gaussian'"),
        ({"heads": 0}, ValueError, "`heads` must be an integer of at least 1"),
        ({"heads": 3}, ValueError, "`heads` must divide the inner_width, 64"),
        (
            {"form": "gaussian", "heads": 5, "inner_width": 10},
            ValueError,
            "`heads` must divide the width of the features, 128",
        ),
        ({"inner_width": 0}, ValueError, "`inner_width`"),
        ({"scale": "yes"}, TypeError, "`scale` must be a bool"),
        ({"symmetric": 1}, TypeError, "`symmetric` must be a bool"),
        ({"subsample": 0}, ValueError, "`subsample` must be an integer of at least 1"),
        ({"normalization": "none"}, ValueError, "`normalization` must be one of"),
        ({"blocks": 0}, ValueError, "`blocks` must be an integer of at least 1"),
        ({"chunk": 0}, ValueError, "`chunk` must be an integer of at least 1"),
        ({"positions": 1}, TypeError, "`positions` must be a bool"),
        ({"attention": 1}, TypeError, "`attention` must be a bool"),
        ({"attention": True, "chunk": 2}, ValueError, "`attention` must be False with `chunk`"),
        (
            {"attention": True, "num_classes": {"left_attention": 2}},
            ValueError,
            r"`attention` must be False where.*\['left_attention'\]",
        ),
        (
            {"modalities": {"left": mm.Features(3)}, "scope": "cross"},
            ValueError,
            "`scope` must be 'joint' or 'self' where there is one modality",
        ),
        ({"width": 0}, ValueError, "`width`"),
        ({"fusion": "conkat"}, ValueError, "`fusion` must be one of"),
        ({"pooling": "sum"}, ValueError, "`mode` must be one of"),
        ({"hidden": 3}, TypeError, "`hidden`"),
        ({"dropout": 1.0}, ValueError, "`dropout`"),
        ({"modality_dropout": -1}, ValueError, "`modality_dropout`"),
    ],
)
def test_errors(options, error, message, monkeypatch):
    def no_graph(*args, **kwargs):
        raise RuntimeError("An input was made before the arguments were checked.")

    monkeypatch.setattr(keras, "Input", no_graph)
    with pytest.raises(error, match=message):
        mm.build_nasn(**{"modalities": TWO, "num_classes": 2, **options})
