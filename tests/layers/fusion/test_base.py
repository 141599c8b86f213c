"""The contract of fusion layers, and the table of their names.

What holds for every one in every pattern of presence is `mm_keras.testing.check_fusion`, which
`tests/test_conformance.py` runs.
"""

import keras
import numpy as np
import pytest

from mm_keras import layers
from mm_keras.testing import check_fusion
from tests.conformance.cases import floats, fusion_features


def test_a_subclass_without_fuse_says_what_to_define():
    class SoftVote(layers.Fusion):
        pass

    message = r"SoftVote must define `fuse\(self, pooled, present\)`, which returns \(B, D\)"
    with pytest.raises(NotImplementedError, match=message):
        SoftVote()(fusion_features())


def test_layers_that_may_take_dicts_are_taken_as_they_are():
    inputs = {name: keras.Input((None, 4), name=name) for name in ("a", "b")}
    total = keras.Model(inputs, inputs["a"] + inputs["b"])
    assert layers.get_fusion(total) is total
    with pytest.raises(TypeError, match="a layer that keeps the contract"):
        layers.get_fusion(keras.layers.Concatenate())


def test_names():
    for name, (cls, options) in layers.FUSIONS.items():
        layer = layers.get_fusion(name, pooling="max")
        assert type(layer) is cls
        assert layer.pooling == "max"
        assert all(getattr(layer, key) == value for key, value in options.items())


def test_a_layer_is_taken_as_it_is():
    layer = layers.ConcatFusion()
    assert layers.get_fusion(layer) is layer


def test_unknown_name():
    with pytest.raises(ValueError, match=r"`fusion` must be one of .* Did you mean 'gated'"):
        layers.get_fusion("gate")


@pytest.mark.parametrize("name", layers.FUSIONS)
class TestErrors:
    def test_unknown_pooling(self, name):
        with pytest.raises(ValueError, match=r"`mode` must be one of .* Did you mean 'mean'"):
            layers.get_fusion(name, "meen")

    def test_no_dict(self, name):
        with pytest.raises(
            TypeError, match=r"`features` of \w+ must be a dict \{name: \(B, N, D\)"
        ):
            layers.get_fusion(name)(floats(2, 3, 4))

    def test_no_sequence(self, name):
        features = {"a": floats(2, 3, 4), "b": floats(2, 4)}
        with pytest.raises(ValueError, match=r"must be sequences \(B, N, D\)\. Received: 'b' of"):
            layers.get_fusion(name)(features)

    def test_mask_of_another_name(self, name):
        mask = {"image": np.ones((4, 1), "bool"), "vidoe": np.ones((4, 1), "bool")}
        with pytest.raises(ValueError, match=r"`mask` of \w+ must have names .*also: \['vidoe'\]"):
            layers.get_fusion(name)(fusion_features(), mask=mask)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "cross_attention"])
def test_unequal_widths(name):
    features = {"a": floats(2, 3, 4), "b": floats(2, 3, 8)}
    with pytest.raises(ValueError, match=r"must all have one width D\. Received: \{'a': 4, 'b': 8"):
        layers.get_fusion(name)(features)


def test_order_of_names_does_not_matter():
    features = fusion_features()
    for name in layers.FUSIONS:
        layer = layers.get_fusion(name)
        expected = np.array(layer(features))
        assert np.array_equal(layer(dict(reversed(features.items()))), expected), name


def test_all_present_is_the_same_as_no_mask():
    features = fusion_features()
    mask = {name: np.ones((4, 1), "bool") for name in features}
    for name in layers.FUSIONS:
        layer = layers.get_fusion(name)
        expected = np.array(layer(features))
        y = layer(features, mask=mask)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_modality_left_out_of_the_mask_is_present():
    features = fusion_features()
    absent = {"image": np.zeros((4, 1), "bool")}
    everything = absent | {name: np.ones((4, 1), "bool") for name in ("audio", "text")}
    for name in layers.FUSIONS:
        layer = layers.get_fusion(name)
        expected = layer(features, mask=everything)
        np.testing.assert_allclose(
            layer(features, mask=absent), expected, rtol=1e-5, atol=1e-6, err_msg=name
        )


@keras.saving.register_keras_serializable("tests")
class Leaky(layers.Fusion):
    """Breaks the contract: sees what is absent."""

    leak: str

    def call(self, features, mask=None):
        pooled = super().call(features, mask)
        if self.leak == "value":
            return pooled + keras.ops.mean(features["a"], axis=1)
        return pooled

    def build_pooled(self, widths):
        self.bias = self.add_weight(shape=(8,), name="a_bias")

    def fuse(self, pooled, present):
        total = sum(pooled.values())
        return total + self.bias if self.leak == "weight" else total

    def compute_output_shape(self, features_shape, mask_shape=None):
        return (None, 8)


@pytest.mark.parametrize(
    ("leak", "message"),
    [("value", "noise in what is absent changes"), ("weight", "'leaky.*/a_bias' gets a gradient")],
)
def test_the_check_finds_leaks(leak, message):
    layer = Leaky()
    layer.leak = leak
    with pytest.raises(AssertionError, match=message):
        check_fusion(layer, fusion_features(("a", "b")))
    layer = Leaky()
    layer.leak = "none"
    check_fusion(layer, fusion_features(("a", "b")))
