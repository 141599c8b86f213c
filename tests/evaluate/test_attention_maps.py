"""Attention maps and gates against the outputs of models, places that are known, and absence."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.evaluate import attention_maps, modality_gates
from tests.evaluate.mixed import INPUTS, MODALITIES

RNG = np.random.default_rng(0)
GRIDS = {
    "f": (3,),
    "image": (3, 2),
    "sound": (3, 2),
    "table": (5,),
    "text": (6,),
    "video": (1,),
    "views": (3, 2, 2),
}


def shaken(model):
    """Returns the model with weights that are no longer as they start."""
    model.set_weights(
        [w + 0.1 * RNG.normal(size=w.shape) if w.ndim else w for w in model.get_weights()]
    )
    return model


def some(*names):
    inputs = {n: x for n, x in INPUTS.items() if n.removesuffix("_present") in names}
    return {name: MODALITIES[name] for name in names}, inputs


def there(name):
    """Returns `(n, N)`: which positions of a modality are there."""
    grid = GRIDS[name]
    if name == "text":
        return (INPUTS["text"] != 0) & INPUTS["text_present"]
    present = INPUTS.get(f"{name}_present", np.ones((5, 1), "bool"))
    if name == "views":
        return np.repeat(present, 4, axis=1)
    return np.broadcast_to(present, (5, int(np.prod(grid))))


def flat(found):
    """Returns `(n, queries, keys)`."""
    queries = int(np.prod(found.query_grid))
    return found.weights.reshape(len(found.weights), queries, -1)


@pytest.mark.parametrize(
    ("scope", "subsample"), [("joint", 1), ("cross", 1), ("joint", 3), ("self", 1)]
)
def test_non_local_blocks(scope, subsample):
    names = ("f", "image", "text")
    modalities, inputs = some(*names)
    model = shaken(
        mm.build_nasn(
            modalities, 3, width=8, scope=scope, heads=2, subsample=subsample, attention=True
        )
    )
    maps = attention_maps(model, inputs, batch_size=3)
    outputs = model.predict(inputs, verbose=0)
    sources = {
        name: {"joint": names, "self": [name]}.get(scope, [n for n in names if n != name])
        for name in names
    }
    for name in names:
        found = [maps[f"non_local_1/{name}/{other}"] for other in sources[name]]
        for other, one in zip(sources[name], found, strict=True):
            assert (one.queries, one.keys, one.kind) == (name, other, "attention")
            assert (one.query_grid, one.key_grid) == (GRIDS[name], GRIDS[other])
            assert one.weights.shape == (5, *GRIDS[name], *GRIDS[other])
            assert not flat(one)[~there(name)].any()
            if subsample == 1:  # a window may hold both what is there and what isn't
                assert not np.moveaxis(flat(one), 2, 1)[~there(other)].any()
        expected = outputs[f"{name}_attention"].mean(axis=1) * there(name)[..., None]
        start = 0
        for one in found:
            own, count = flat(one), int(np.prod(one.key_grid))
            windows = -(-count // subsample)
            whole = np.pad(own, ((0, 0), (0, 0), (0, -count % subsample)))
            summed = whole.reshape(*own.shape[:2], windows, subsample).sum(axis=-1)
            np.testing.assert_allclose(summed, expected[..., start : start + windows], atol=1e-5)
            start += windows
        keys = np.concatenate([there(other) for other in sources[name]], axis=1).any(axis=1)
        total = sum(flat(one).sum(axis=2) for one in found)
        np.testing.assert_allclose(total, there(name) & keys[:, None], atol=1e-5)
    pooled = {n: one for n, one in maps.items() if one.kind == "pooling"}
    assert sorted(pooled) == [f"fusion/{name}" for name in names]
    for name in names:
        weights = pooled[f"fusion/{name}"].weights
        assert weights.shape == (5, *GRIDS[name])
        np.testing.assert_allclose(
            weights.reshape(5, -1).sum(axis=1), there(name).any(axis=1), atol=1e-5
        )
        np.testing.assert_array_equal(pooled[f"fusion/{name}"].received(), weights)


def test_similarity_and_alignment():
    names = ("image", "text", "views")
    modalities, inputs = some(*names)
    model = shaken(mm.build_cmn(modalities, 3, width=8, similarities=True, pooling="attention"))
    maps, outputs = attention_maps(model, inputs), model.predict(inputs, verbose=0)
    for a, b in (("image", "text"), ("image", "views"), ("text", "views")):
        found = maps[f"{a}_{b}_similarity"]
        assert (found.kind, found.queries, found.keys) == ("similarity", a, b)
        np.testing.assert_allclose(flat(found), outputs[f"{a}_{b}_similarity"], atol=1e-5)
        sharpness = np.exp(model.get_layer(f"{a}_{b}_alignment").log_sharpness.numpy())
        both = there(a)[:, :, None] & there(b)[:, None]
        powers = np.exp(sharpness * outputs[f"{a}_{b}_similarity"]) * both
        for name, axis in ((f"{a}/{b}", 2), (f"{b}/{a}", 1)):
            total = powers.sum(axis=axis, keepdims=True)
            expected = powers / np.where(total, total, 1)
            expected = expected if axis == 2 else expected.swapaxes(1, 2)
            own = maps[f"{a}_{b}_alignment/{name}"]
            np.testing.assert_allclose(flat(own), expected, atol=1e-4)
    assert "image_embedding_pooling/image" in maps
    np.testing.assert_allclose(
        maps["image_text_similarity"].received(),
        outputs["image_text_similarity"].mean(axis=1),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("build", "options", "layer"),
    [
        (mm.build_mcnn, {"fusion": "cross_attention", "pooling": "attention"}, "fusion"),
        (mm.build_dfn, {"exchange": "attention"}, "exchange"),
    ],
)
def test_cross_attention(build, options, layer):
    names = ("image", "text", "views")
    modalities, inputs = some(*names)
    model = shaken(build(modalities, 3, width=8, **options))
    maps = attention_maps(model, inputs)
    assert len(maps) == (9 if layer == "fusion" else 6)
    for name in names:
        others = [other for other in names if other != name]
        found = [maps[f"{layer}/{name}/{other}"] for other in others]
        kept = np.concatenate([there(other) for other in others], axis=1)
        weights = np.concatenate([flat(one) for one in found], axis=2)
        assert not np.moveaxis(weights, 2, 1)[~kept].any()
        expected = there(name) & kept.any(axis=1)[:, None]
        np.testing.assert_allclose(weights.sum(axis=2), expected, atol=1e-5)
        # What is absent has no say: other words there would change nothing.
        changed = {**inputs, "text": np.where(inputs["text_present"], inputs["text"], 7)}
        again = attention_maps(model, changed)[f"{layer}/{name}/{others[0]}"]
        np.testing.assert_array_equal(again.weights, found[0].weights)


def test_positions_are_where_the_pixels_are():
    """A pooling that likes bright positions, on a backbone that keeps every pixel in its place."""
    pixels = keras.Input((4, 6, 1))
    backbone = keras.Model(pixels, keras.layers.Rescaling(1 / 255)(pixels))
    image = mm.Image((4, 6, 1), backbone=backbone, activation=None)
    model = mm.build_mcnn({"image": image}, 2, width=2, pooling="attention")
    model.get_layer("image_projection").set_weights([np.full((1, 1, 1, 2), 5.0), np.zeros(2)])
    model.get_layer("fusion").set_weights([np.ones((2, 1))])
    picture = np.zeros((2, 4, 6, 1))
    picture[0, 1, 5] = picture[1, 3, 0] = 255
    found = attention_maps(model, picture)["fusion/image"]
    assert found.key_grid == (4, 6)
    brightest = [np.unravel_index(one.argmax(), one.shape) for one in found.weights]
    assert [tuple(map(int, place)) for place in brightest] == [(1, 5), (3, 0)]


def test_layers_of_graphs_made_by_hand():
    a, b = keras.Input((4, 8), name="a"), keras.Input((5, 8), name="b")
    x = keras.layers.MultiHeadAttention(2, 4, name="looks")(a, b)
    x, _ = mm.layers.NonLocalBlock(subsample=2, name="block")(x, return_attention=True)
    pooled = mm.layers.SequencePooling("attention", name="pool")(b)
    flatten = keras.layers.Flatten()(x)
    model = keras.Model([a, b], keras.layers.Concatenate()([flatten, pooled]))
    inputs = {"a": RNG.normal(size=(3, 4, 8)), "b": RNG.normal(size=(3, 5, 8))}
    maps = attention_maps(model, inputs)
    assert {name: one.weights.shape for name, one in maps.items()} == {
        "looks/a/b": (3, 4, 5),
        "block/a+b/a+b": (3, 4, 4),
        "pool/b": (3, 5),
    }
    vector = {"v": mm.Features(6), "f": MODALITIES["f"]}
    one = attention_maps(
        mm.build_mcnn(vector, 2, width=4, fusion="cross_attention"),
        {"v": np.ones((3, 6)), "f": np.ones((3, 3, 5))},
    )["fusion/v/f"]
    assert (one.query_grid, one.weights.shape) == ((1,), (3, 1, 3))
    layer = model.get_layer("looks")
    scores = layer(inputs["a"], inputs["b"], return_attention_scores=True)[1]
    np.testing.assert_allclose(maps["looks/a/b"].weights, np.mean(scores, axis=1), atol=1e-6)


def test_gates():
    names = ("f", "image", "text")
    modalities, inputs = some(*names)
    model = shaken(mm.build_dfn(modalities, 3, width=8, selection="top_k"))
    found = modality_gates(model, inputs, batch_size=2)
    gates = model.predict(inputs, verbose=0)["gates"]
    for index, name in enumerate(names):
        np.testing.assert_allclose(found.values[name], gates[:, index], atol=1e-6)
        here = there(name).any(axis=1)
        np.testing.assert_array_equal(found.present[name], here)
        assert found.means[name] == pytest.approx(gates[here, index].mean(), abs=1e-6)
        assert found.chosen[name] == pytest.approx((gates[here, index] > 0).mean())
    assert found.positions is None
    hidden = shaken(mm.build_dfn(modalities, 3, width=8, gates=False))
    assert set(modality_gates(hidden, inputs, layer="gate").values) == set(names)


def test_gates_of_positions():
    specs = {"a": mm.Features((3, 5)), "b": mm.Features((3, 7), optional=True)}
    model = shaken(mm.build_dfn(specs, 3, width=8, level="position"))
    here = np.array([[1], [1], [0]]) > 0
    inputs = {"a": RNG.normal(size=(3, 3, 5)), "b": RNG.normal(size=(3, 3, 7)), "b_present": here}
    found = modality_gates(model, inputs)
    assert {name: array.shape for name, array in found.positions.items()} == {
        "a": (3, 3),
        "b": (3, 3),
    }
    np.testing.assert_allclose(sum(found.positions.values()), 1, atol=1e-6)
    assert not found.positions["b"][2].any()
    for name, gates in found.positions.items():
        np.testing.assert_allclose(gates.mean(axis=1), found.values[name], atol=1e-6)
    assert np.ptp(found.positions["a"][0]) > 0


def test_errors():
    specs, inputs = some("f", "text")
    plain = mm.build_mcnn(specs, 2, width=4)
    with pytest.raises(ValueError, match="`model` must have attention, similarity matrices, or"):
        attention_maps(plain, inputs)
    with pytest.raises(ValueError, match=r"`model` must have gates, mm\.layers\.ModalityGate"):
        modality_gates(plain, inputs)
    chunked = mm.build_nasn(specs, 2, width=4, chunk=2)
    with pytest.raises(ValueError, match="`model` must have non-local blocks without `chunk`"):
        attention_maps(chunked, inputs)
    gated = mm.build_dfn(specs, 2, width=4)
    with pytest.raises(ValueError, match=r"`layer` must be one of \['gate'\]"):
        modality_gates(gated, inputs, layer="gates")
    features = {name: keras.Input((2, 4), name=name) for name in "ab"}
    first = mm.layers.ModalityGate(name="first")(features)["features"]
    second = mm.layers.ModalityGate(name="second")(first)
    two = keras.Model(features, second["gates"])
    with pytest.raises(ValueError, match=r"`layer` must name one of the gates \['first', 'second'"):
        modality_gates(two, {name: np.ones((1, 2, 4)) for name in "ab"})
