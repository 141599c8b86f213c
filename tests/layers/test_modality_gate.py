"""Gates over modalities: an oracle sample by sample, limits, gradients, absence, fusions."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras import layers, testing
from mm_keras.layers.multimodal import MultimodalLayer
from tests.conformance.cases import POSITIONS, PRESENT, floats, fusion_features

NAMES = ("a", "b", "c")


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def gates_of(scores, present, selection, top_k, temperature):
    """Gates `(M,)` of one sample, or position."""
    gates = np.zeros(len(scores))
    there = np.flatnonzero(present)
    if not len(there):
        return gates
    best = there[np.argsort(-scores[there], kind="stable")]
    if selection == "hard":
        gates[best[0]] = 1
        return gates
    kept = best[:top_k] if selection == "top_k" else best
    gates[kept] = softmax(scores[kept] / temperature)
    return gates


def oracle(layer, features, mask=None):
    """Returns gated features, gates and presence, sample by sample."""
    kernel, bias, score = (np.asarray(w) for w in (layer.kernel, layer.bias, layer.score))
    tau = float(layer.temperature)
    mask = {
        name: np.broadcast_to((mask or {}).get(name, True), x.shape[:2])
        for name, x in features.items()
    }
    gated = {name: np.zeros_like(x) for name, x in features.items()}
    gates, presence = [], []

    def gate(vectors, present):
        scores = np.array([np.tanh(h @ kernel + bias) @ score[:, 0] for h in vectors])
        return gates_of(scores, present, layer.selection, layer.top_k, tau)

    for b in range(len(features["a"])):
        there = np.array([mask[name][b].any() for name in layer.names])
        if layer.level == "modality":
            vectors = [
                features[name][b][mask[name][b]].mean(0) if ok else np.zeros(len(kernel))
                for name, ok in zip(layer.names, there, strict=True)
            ]
            a = gate(vectors, there)
            for m, name in enumerate(layer.names):
                gated[name][b] = a[m] * features[name][b] * mask[name][b][:, None]
        else:
            at = []
            for n in range(features["a"].shape[1]):
                present = np.array([mask[name][b, n] for name in layer.names])
                a = gate([features[name][b, n] for name in layer.names], present)
                for m, name in enumerate(layer.names):
                    gated[name][b, n] = a[m] * features[name][b, n]
                if present.any():
                    at.append(a)
            a = np.mean(at, axis=0) if at else np.zeros(len(layer.names))
        gates.append(a)
        presence.append(there)
    return gated, np.stack(gates), np.stack(presence)


def made(features, **options):
    """A layer with random weights; a seed is another layer."""
    layer = layers.ModalityGate(**options)
    layer(features)
    for index, weight in enumerate((layer.kernel, layer.bias, layer.score)):
        weight.assign(floats(*weight.shape, seed=index + 10))
    return layer


def same_length():
    return {name: floats(4, 3, 8, seed=index) for index, name in enumerate(NAMES)}


@pytest.mark.parametrize("mask", [None, {"a": PRESENT, "c": POSITIONS}], ids=["whole", "masked"])
@pytest.mark.parametrize("level", ["modality", "position"])
@pytest.mark.parametrize("selection", ["soft", "top_k", "hard"])
def test_oracle(selection, level, mask):
    features = same_length()
    layer = made(features, selection=selection, level=level, temperature=0.7, units=5)
    outputs = layer(features, mask=mask)
    gated, gates, present = oracle(layer, features, mask)
    np.testing.assert_allclose(outputs["gates"], gates, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outputs["present"], present)
    for name in NAMES:
        np.testing.assert_allclose(outputs["features"][name], gated[name], rtol=1e-4, atol=1e-5)
    if level == "modality":
        with pytest.raises(ValueError, match="`return_positions` must be False for level='moda"):
            layer(features, return_positions=True)
        return
    positions = np.asarray(layer(features, mask=mask, return_positions=True)["positions"])
    for index, name in enumerate(NAMES):
        own = np.broadcast_to((mask or {}).get(name, True), (4, 3))
        product = positions[:, :, index, None] * features[name]
        np.testing.assert_allclose(product[own], gated[name][own], rtol=1e-4, atol=1e-5)
        assert not positions[:, :, index][~own].any()


@pytest.mark.parametrize("selection", ["soft", "top_k", "hard"])
def test_weights_sum_to_1_and_their_sum_is_attention(selection):
    features = fusion_features(NAMES)
    layer = made(features, selection=selection)
    outputs = layer(features)
    gates = np.asarray(outputs["gates"])
    np.testing.assert_allclose(gates.sum(-1), 1, rtol=1e-5)
    assert np.ptp(gates, axis=0).max() > 0.05  # samples differ
    fused = layers.ElementwiseFusion("sum")(outputs["features"])
    expected = sum(gates[:, [m]] * features[n].mean(1) for m, n in enumerate(NAMES))
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=1e-5)


def test_soft_gates_start_even_and_learn():
    features = fusion_features(NAMES)
    layer = layers.ModalityGate()
    np.testing.assert_allclose(layer(features)["gates"], np.full((4, 3), 1 / 3), rtol=1e-6)
    alone = layer(features, mask={"a": np.zeros((4, 1), "bool")})["gates"]
    np.testing.assert_allclose(alone, [[0, 0.5, 0.5]] * 4, rtol=1e-6)
    found = testing.gradients(lambda: layer(features)["features"], layer)
    assert np.abs(found[layer.score.path]).max() > 1e-3


def test_equal_features_average_where_gates_have_been_learnt():
    x = floats(4, 2, 8)
    layer = made({"a": x, "b": x})
    np.testing.assert_allclose(layer({"a": x, "b": x})["gates"], 0.5, rtol=1e-5)


@pytest.mark.parametrize("selection", ["top_k", "hard"])
def test_selections_don_t_start_with_one_favourite(selection):
    keras.utils.set_random_seed(0)
    features = {name: floats(200, 1, 8, seed=index) for index, name in enumerate(NAMES)}
    chosen = np.asarray(layers.ModalityGate(selection)(features)["gates"]) > 0
    assert chosen.mean(0).min() > 0.1


@pytest.mark.parametrize("temperature", [1e-4, 1e4])
def test_limits_of_the_temperature(temperature):
    features = fusion_features(NAMES)
    layer = made(features)
    hard = made(features, selection="hard")
    layer.temperature.assign(temperature)
    expected = hard(features)["gates"] if temperature < 1 else np.full((4, 3), 1 / 3)
    np.testing.assert_allclose(layer(features)["gates"], expected, atol=1e-3)


def test_hard_is_one_hot_with_the_soft_gradient():
    features = fusion_features(NAMES)
    soft, hard = made(features), made(features, selection="hard")
    gates = np.asarray(hard(features)["gates"])
    np.testing.assert_array_equal(np.sort(gates, -1), [[0, 0, 1]] * 4)
    found = [
        testing.gradients(lambda layer=layer: layer(features)["gates"], layer)
        for layer in (soft, hard)
    ]
    for one, other in zip(*(list(f.values()) for f in found), strict=True):
        assert np.abs(one).max() > 1e-4
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


def test_gradient_reaches_the_gate_but_not_the_features_that_were_not_chosen():
    features = fusion_features(NAMES)
    layer = made(features, selection="hard")
    gates = np.asarray(layer(features)["gates"])
    scaled = testing.gradients(
        lambda x: layers.ElementwiseFusion("sum")(layer(x)["features"]), layer, features
    )
    assert np.abs(scaled[layer.score.path]).max() > 1e-3
    layer.trainable = False
    layer.score.assign(np.zeros((8, 1)))  # scores no longer depend on the features
    ties = testing.gradients(lambda x: layer(x)["features"], layer, features)
    assert np.abs(ties["a"]).max() > 1e-3  # of equal scores the first name wins
    assert not np.any(ties["b"])
    assert not np.any(ties["c"])
    assert (gates.sum(0) > 0).sum() > 1


def test_top_k_with_fewer_present_than_k():
    features = fusion_features(NAMES)
    layer = made(features, selection="top_k", top_k=3)
    mask = {"a": np.array([[1], [0], [0], [0]], "bool"), "b": PRESENT}
    gates = np.asarray(layer(features, mask=mask)["gates"])
    present = np.asarray(layer(features, mask=mask)["present"])
    np.testing.assert_array_equal(gates > 0, present)
    np.testing.assert_allclose(gates.sum(-1), 1, rtol=1e-5)
    assert gates[1, 2] == 1


@pytest.mark.parametrize(
    ("fusion", "selection", "level"),
    [
        *[(fusion, "hard", "modality") for fusion in layers.FUSIONS],
        ("sum", "soft", "modality"),
        ("concat", "top_k", "modality"),
        ("mean", "hard", "position"),
    ],
)
def test_any_fusion_of_gated_features_keeps_the_contract(fusion, selection, level):
    names = NAMES if fusion != "tensor" else NAMES[:2]
    features = {name: floats(1, 2, 4, seed=index) for index, name in enumerate(names)}
    testing.check_fusion(_GatedThenFused(fusion, selection, level), features)


class _GatedThenFused(MultimodalLayer):
    def __init__(self, fusion, selection, level):
        super().__init__()
        self.gate = layers.ModalityGate(selection, level=level, name="gate")
        self.fuse = layers.get_fusion(fusion)

    def build(self, features_shape):
        self.gate.build(features_shape)
        self.fuse.build(features_shape)
        self.gate.score.assign(floats(*self.gate.score.shape))

    def call(self, features, mask=None):
        return self.fuse(self.gate(features, mask=mask)["features"], mask=mask)


def test_gumbel_noise_varies_selections_in_training_only():
    features = {name: np.repeat(x[:1], 4000, 0) for name, x in fusion_features(NAMES).items()}
    layer = made(features, selection="hard", gumbel=True, seed=0)
    layer.score.assign(0.3 * layer.score)
    calm = np.asarray(layer(features)["gates"])
    assert (calm == calm[0]).all()
    drawn = np.asarray(layer(features, training=True)["gates"])
    soft = made(features)
    soft.score.assign(layer.score)
    # Gumbel-max: the highest noisy score is a draw from the softmax.
    np.testing.assert_allclose(drawn.mean(0), soft(features)["gates"][0], atol=0.03)


def test_large_scores_in_float16():
    features = fusion_features(("a", "b"))
    layer = layers.ModalityGate(dtype="mixed_float16", temperature=1e-3)
    layer(features)
    layer.score.assign(np.full((8, 1), 100.0))
    outputs = layer(features)
    assert outputs["gates"].dtype == "float32"
    np.testing.assert_allclose(np.asarray(outputs["gates"]).sum(-1), 1, rtol=1e-5)
    assert all(np.isfinite(x).all() for x in outputs["features"].values())


def test_pooling():
    features = fusion_features(("a", "b"))
    layer = made(features, pooling="max")
    highest = {name: x.max(1, keepdims=True) for name, x in features.items()}
    expected = oracle(layer, highest)[1]
    np.testing.assert_allclose(layer(features)["gates"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"selection": "hardest"}, "`selection` must be one of .* Did you mean 'hard'"),
        ({"level": "pixel"}, "`level` must be one of"),
        ({"selection": "top_k", "top_k": 1}, "`top_k` must be at least 2"),
        ({"selection": "top_k", "top_k": 3}, "`top_k` must be at most 2, the number of modalities"),
        ({"top_k": 0}, "`top_k` must be an integer of at least 1"),
        ({"temperature": 0}, "`temperature` must be above 0"),
        ({"temperature": -1.0}, r"`temperature` must be at least 0\.0"),
        ({"units": 0}, "`units` must be an integer of at least 1"),
        ({"pooling": "median"}, "`mode` must be one of"),
        ({"level": "position"}, "`level` must be 'modality' for features with different numbers"),
    ],
)
def test_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        layers.ModalityGate(**kwargs)(fusion_features(("a", "b")))


def test_types_and_widths():
    with pytest.raises(TypeError, match="`gumbel` must be a bool"):
        layers.ModalityGate(gumbel=1)
    with pytest.raises(ValueError, match="must all have one width D"):
        layers.ModalityGate()({"a": floats(2, 1, 3), "b": floats(2, 1, 4)})
    with pytest.raises(ValueError, match="`mask` of ModalityGate must have names out of"):
        layers.ModalityGate()(fusion_features(("a", "b")), mask={"d": PRESENT})


def test_documentation_says_what_a_gate_is_not():
    for thing in (layers.ModalityGate, mm.build_dfn):
        assert "no measure of" in thing.__doc__.replace("\n", " ")
