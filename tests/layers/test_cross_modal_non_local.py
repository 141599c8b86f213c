"""Non-local blocks across modalities: who attends to whom, against single blocks."""

import keras
import numpy as np
import pytest
from keras import ops

from mm_keras import layers, testing
from tests.conformance.cases import floats, fusion_features

FEATURES = fusion_features()  # audio (4, 2, 8), image (4, 3, 8), text (4, 4, 8)
NAMES = ("audio", "image", "text")
PARTS = np.random.default_rng(0)
MASK = {name: PARTS.random(FEATURES[name].shape[:2]) < 0.7 for name in ("image", "text")}
MASK["image"][1] = False


def moved(layer, features=FEATURES):
    """The layer with all weights off their start."""
    layer(features)
    layer.set_weights(
        [w + 0.4 * floats(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())]
    )
    return layer


def make(scope, **options):
    keras.utils.set_random_seed(0)
    return moved(layers.CrossModalNonLocal(scope, **{"normalization": "layer", **options}))


def joined(names):
    """Keys of several modalities, and their mask."""
    kept = [MASK.get(n, np.ones(FEATURES[n].shape[:2], "bool")) for n in names]
    return np.concatenate([FEATURES[n] for n in names], 1), np.concatenate(kept, 1)


@pytest.mark.parametrize("scope", ["cross", "self"])
def test_separate_blocks_are_blocks_on_their_own(scope):
    layer = make(scope, heads=2)
    outputs, maps = layer(FEATURES, mask=MASK, return_attention=True)
    assert sorted(outputs) == sorted(maps) == list(NAMES)
    for name in NAMES:
        sources = [name] if scope == "self" else [n for n in NAMES if n != name]
        block = layers.NonLocalBlock(heads=2, normalization="layer")
        keys, kept = joined(sources)
        block(FEATURES[name], keys)
        block.set_weights(layer.blocks[name].get_weights())
        expected, attention = block(
            FEATURES[name], keys, mask=MASK.get(name), keys_mask=kept, return_attention=True
        )
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(maps[name], attention, rtol=1e-5, atol=1e-6)


def test_joint_block_is_one_on_all_positions():
    layer = make("joint")
    outputs, maps = layer(FEATURES, mask=MASK, return_attention=True)
    block = layers.NonLocalBlock(normalization="layer")
    x, kept = joined(NAMES)
    block(x)
    block.set_weights(layer.get_weights())
    expected, attention = block(x, mask=kept, return_attention=True)
    found = np.concatenate([outputs[name] for name in NAMES], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    found = np.concatenate([maps[name] for name in NAMES], axis=2)
    np.testing.assert_allclose(found, attention, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scope", ["cross", "joint"])
def test_windows_don_t_mix_modalities(scope):
    """A window over two modalities would have the maximum of both."""
    layer = make(scope, subsample=2, normalization=None)
    outputs, maps = layer(FEATURES, return_attention=True)
    windows = {"audio": 1, "image": 2, "text": 2}
    for name in NAMES:
        sources = [n for n in NAMES if scope == "joint" or n != name]
        assert maps[name].shape[-1] == sum(windows[source] for source in sources)
    twice = {n: np.repeat(x, 2, axis=1) for n, x in FEATURES.items()}
    plain = layers.CrossModalNonLocal(scope, normalization=None)
    plain(FEATURES)
    plain.set_weights(layer.get_weights())
    doubled = layer(twice)  # each window holds one position twice
    for name, z in plain(FEATURES).items():
        np.testing.assert_allclose(doubled[name][:, ::2], z, rtol=1e-5, atol=1e-6)
    assert np.abs(outputs["text"] - np.asarray(plain(FEATURES)["text"])).max() > 1e-3


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_alone_a_modality_stays_as_it_is(normalization):
    layer = make("cross", normalization=normalization)
    absent = {name: np.zeros((4, 1), "bool") for name in ("image", "text")}
    for training in (False, True):
        outputs = layer(FEATURES, mask=absent, training=training)
        np.testing.assert_array_equal(outputs["audio"], FEATURES["audio"])
        assert not np.any(outputs["image"])
    assert np.abs(layer(FEATURES)["audio"] - FEATURES["audio"]).min() > 0


@pytest.mark.parametrize("scope", ["cross", "joint", "self"])
def test_starts_as_the_identity(scope):
    outputs = layers.CrossModalNonLocal(scope)(FEATURES)
    for name in NAMES:
        np.testing.assert_array_equal(outputs[name], FEATURES[name])


class Joined(keras.layers.Layer):
    """What the check of fusions takes: one output of all."""

    def __init__(self, layer):
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer

    def build(self, features_shape):
        self.layer.build(features_shape)

    def call(self, features, mask=None):
        outputs = self.layer(features, mask=mask)
        return ops.concatenate([outputs[name] for name in sorted(outputs)], axis=1)


@pytest.mark.parametrize(
    ("scope", "options"),
    [
        ("cross", {"form": "concatenation", "heads": 2}),
        ("cross", {"form": "dot_product", "normalization": None, "chunk": 2}),
        ("joint", {"form": "gaussian", "subsample": 2, "chunk": 3}),
        ("self", {"normalization": None, "subsample": 2}),
    ],
)
def test_absence(scope, options):
    # Batch normalisation, whose statistics this check would move: see `test_non_local.py`.
    layer = moved(Joined(layers.CrossModalNonLocal(scope, **{"normalization": "layer", **options})))
    testing.check_fusion(layer, FEATURES)


def test_chunked_is_whole():
    for scope in ("cross", "joint", "self"):
        whole = make(scope, subsample=2)
        chunked = layers.CrossModalNonLocal(scope, subsample=2, normalization="layer", chunk=2)
        chunked(FEATURES)
        chunked.set_weights(whole.get_weights())
        expected = whole(FEATURES, mask=MASK)
        for name, z in chunked(FEATURES, mask=MASK).items():
            np.testing.assert_allclose(z, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "features", "message"),
    [
        ({"scope": "crossed"}, FEATURES, "`scope` must be one of .*Did you mean 'cross'"),
        ({"form": "dot"}, FEATURES, "`form` must be one of"),
        ({"heads": 3}, FEATURES, "`heads` must divide the inner_width, 4"),
        ({"chunk": 0}, FEATURES, "`chunk` must be an integer of at least 1"),
        ({"subsample": -1}, FEATURES, "`subsample` must be an integer of at least 1"),
        ({}, {"audio": FEATURES["audio"]}, "must have at least 2 modalities"),
        (
            {"scope": "joint"},
            {"a": floats(2, 3, 4), "b": floats(2, 3, 6)},
            "must all have one width D",
        ),
    ],
)
def test_errors(options, features, message):
    with pytest.raises(ValueError, match=message):
        layers.CrossModalNonLocal(**options)(features)


def test_attention_is_refused_in_chunks():
    with pytest.raises(ValueError, match="`return_attention` must be False with `chunk`"):
        layers.CrossModalNonLocal(chunk=2)(FEATURES, return_attention=True)
    inputs = {name: keras.Input(x.shape[1:]) for name, x in FEATURES.items()}
    with pytest.raises(ValueError, match="`return_attention` must be False with `chunk`"):
        layers.CrossModalNonLocal(chunk=2)(inputs, return_attention=True)
