"""Attention bottlenecks: an oracle block by block, and what reaches whom."""

import numpy as np
import pytest

from mm_keras import layers, testing
from tests.conformance.cases import floats, fusion_features

NAMES = ("a", "b", "c")


def made(names=NAMES, **options):
    features = fusion_features(names)
    layer = layers.AttentionBottleneck(**{"tokens": 2, "heads": 2, **options})
    layer(features)
    layer.set_weights(
        [w + 0.2 * floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())]
    )
    return layer, features


def oracle(layer, features, mask):
    """Sample by sample, on the positions that are there, with the layer's own blocks."""
    outputs = {name: np.zeros_like(x) for name, x in features.items()}
    count = len(layer.names)
    for b in range(4):
        x = {name: features[name][b][mask[name][b]] for name in layer.names}
        z = np.asarray(layer.bottleneck)
        for depth in range(layer.before + layer.depth):
            blocks = layer.blocks[depth * count : (depth + 1) * count]
            new = []
            for name, block in zip(layer.names, blocks, strict=True):
                if not len(x[name]):
                    continue
                joined = x[name] if depth < layer.before else np.concatenate([x[name], z])
                joined = np.asarray(block(joined[None]))[0]
                if depth >= layer.before:
                    new.append(joined[len(x[name]) :])
                x[name] = joined[: len(x[name])]
            if new:
                z = np.mean(new, axis=0)
        for name in layer.names:
            outputs[name][b][mask[name][b]] = x[name]
    return outputs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("before", [0, 1])
def test_oracle(before, masked):
    layer, features = made(before=before)
    rng = np.random.default_rng(0)
    mask = {n: rng.random(x.shape[:2]) < (0.6 if masked else 2) for n, x in features.items()}
    if masked:
        mask["a"][0] = mask["b"][0] = mask["c"][1] = False
        for m in mask.values():
            m[2] = False
    outputs = layer(features, mask=mask if masked else None)
    expected = oracle(layer, features, mask)
    for name in NAMES:
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-4, atol=1e-5)


def moved(layer, features):
    """How much `a` changes when `b` does."""
    other = layer({**features, "b": features["b"][::-1]})
    return np.abs(np.asarray(other["a"]) - np.asarray(layer(features)["a"])).max()


def test_independent_before_the_second_bottleneck():
    assert moved(*made(depth=1)) == 0
    assert moved(*made(depth=1, before=2)) == 0
    assert moved(*made(depth=2)) > 1e-3


def test_exchange_goes_through_the_bottleneck_alone():
    layer, features = made(("a", "b"), tokens=1)
    seen = []
    exchange = layer._exchange
    layer._exchange = lambda *args: seen.append(args[4]) or exchange(*args)
    layer(features)
    assert [z.shape for z in seen] == [(4, 1, 8)] * 2


def test_absent_has_no_effect_and_no_gradient():
    layer, features = made()
    mask = {"b": np.array([[1], [0], [1], [0]], "bool")}
    garbage = {**features, "b": np.where(mask["b"][..., None], features["b"], np.nan)}
    outputs, expected = layer(garbage, mask=mask), layer(features, mask=mask)
    found = testing.gradients(lambda x: layer(x, mask=mask), layer, features)
    for name in NAMES:
        np.testing.assert_array_equal(outputs[name], expected[name])
    np.testing.assert_array_equal(np.asarray(outputs["b"]).any((1, 2)), mask["b"][:, 0])
    np.testing.assert_array_equal(found["b"].any((1, 2)), mask["b"][:, 0])
    without = made(("a", "c"))[0]
    kept = [w for w in layer.weights if "b_block" not in w.path]
    without.set_weights([w.numpy() for w in kept])
    alone = without({name: features[name] for name in ("a", "c")})
    np.testing.assert_allclose(outputs["a"][1], alone["a"][1], rtol=1e-4, atol=1e-5)


def test_nothing_present_is_finite():
    layer, features = made(before=1)
    mask = {name: np.zeros((4, 1), "bool") for name in NAMES}
    assert not any(np.any(x) for x in layer(features, mask=mask).values())


def test_dropout_in_training_only():
    layer = layers.AttentionBottleneck(heads=2, dropout=0.5)
    features = fusion_features()
    assert np.array_equal(layer(features)["audio"], layer(features)["audio"])
    twice = [np.asarray(layer(features, training=True)["audio"]) for _ in range(2)]
    assert not np.array_equal(*twice)


@pytest.mark.parametrize(
    ("kwargs", "names", "message"),
    [
        ({"tokens": 0}, NAMES, "`tokens` must be an integer of at least 1"),
        ({"depth": 0}, NAMES, "`depth` must be an integer of at least 1"),
        ({"before": -1}, NAMES, "`before` must be an integer of at least 0"),
        ({"heads": 3}, NAMES, "`heads` must divide the width 8"),
        ({"dropout": 1}, NAMES, r"`dropout` must be at least 0\.0 and below 1\.0"),
        ({}, ("a",), "must have at least 2 modalities"),
    ],
)
def test_arguments(kwargs, names, message):
    with pytest.raises(ValueError, match=message):
        layers.AttentionBottleneck(**kwargs)(fusion_features(names))
