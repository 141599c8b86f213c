"""Text: padding and absent texts have no effect; the backbones see what they should."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.encoders.text import TextEncoder

BACKBONES = mm.Text.BACKBONES
IDS = np.array([[5, 3, 9, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0], [4, 8, 2, 6, 3, 7, 2, 9]])


def make(backbone, max_tokens=8, **options):
    return mm.Text(
        max_tokens, 10, backbone=backbone, embedding=8, depth=2, heads=2, dropout=0.0, **options
    )


def perturb(model, seed=0):
    """Sets every weight to random numbers, biases included."""
    noise = np.random.default_rng(seed)
    model.set_weights([noise.normal(0, 0.5, w.shape) for w in model.weights])
    return model


def copy(source, target):
    """Copies weights; of positions, those that both have."""
    for old, new in zip(source.weights, target.weights, strict=True):
        value, shape = old.numpy(), new.shape
        if value.shape != shape:
            assert "position" in new.path
            value = np.concatenate([value, np.full((shape[0] - len(value), shape[1]), 100.0)])
        new.assign(value)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_have_one_position_a_token(backbone):
    encoder = TextEncoder(make(backbone), 6, "text")
    inputs = keras.Input((8,), dtype="int32")
    features, mask = encoder(inputs)
    assert features.shape == (None, 8, 6)
    found = keras.Model(inputs, mask)(IDS)
    np.testing.assert_array_equal(found, IDS != 0)


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_more_padding_changes_nothing(backbone, pooling):
    options = {"num_classes": mm.Regression(3), "width": 4, "pooling": pooling}
    short = perturb(mm.build_mcnn({"text": make(backbone, 8)}, **options))
    long = mm.build_mcnn({"text": make(backbone, 12)}, **options)
    copy(short, long)
    padded = np.pad(IDS, ((0, 0), (0, 4)))
    expected = short({"text": IDS})["label"].numpy()
    np.testing.assert_allclose(long({"text": padded})["label"], expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3  # the texts do matter


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_text_of_padding_only_has_no_effect(backbone):
    modalities = {"text": make(backbone), "numbers": mm.Features(5, activation=None)}
    model = perturb(mm.build_mcnn(modalities, mm.Regression(3), width=4))
    numbers = np.random.default_rng(1).normal(size=(2, 5)).astype("float32")
    found = model({"text": np.zeros((2, 8), "int32"), "numbers": numbers})["label"]
    w, b = model.get_layer("numbers_projection").get_weights()
    head, bias = model.get_layer("label_logits").get_weights()
    expected = (numbers @ w + b) @ head[:4] + bias  # "numbers" comes first, "text" is zero
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("backbone", ["Conv1D", "BiGRU", "Transformer"])
def test_order_matters_to_all_but_words(backbone):
    for name, matters in (("Words", False), (backbone, True)):
        model = perturb(mm.build_mcnn({"text": make(name)}, mm.Regression(3), width=4))
        forwards, backwards = IDS[2:], IDS[2:, ::-1].copy()
        change = np.abs(
            model({"text": forwards})["label"].numpy() - model({"text": backwards})["label"]
        ).max()
        assert (change > 1e-3) == matters


def test_conv1d_has_the_kernel_and_depth_asked_for():
    spec = mm.Text(8, 10, backbone="Conv1D", embedding=4, depth=3, kernel_size=5)
    model = TextEncoder.make_backbone(spec, "x")
    kernels = [w.shape for w in model.weights if "kernel" in w.path]
    assert kernels == [(5, 4, 4)] * 3


def test_l2_weighs_kernels_and_nothing_else():
    for backbone, kernels in (("Words", 1), ("Conv1D", 3), ("BiGRU", 5)):
        model = mm.build_mcnn({"text": make(backbone, l2=0.5)}, 2, width=4)
        found = sum(float(loss) for loss in model.losses)
        squares = [
            np.square(w.numpy()).sum()
            for w in model.weights
            if w.path.endswith("/kernel") and "label" not in w.path
        ]
        assert len(squares) == kernels
        assert found == pytest.approx(0.5 * sum(squares), rel=1e-4)


def ones_own(outputs, max_tokens=8):
    """A model from token ids alone to whatever `outputs` makes of their embedding."""
    ids = keras.Input((max_tokens,), dtype="int32")
    return keras.Model(ids, outputs(keras.layers.Embedding(10, 4)(ids)), name="mine")


def test_ones_own_model_of_ids():
    mine = ones_own(keras.layers.Dense(5))
    model = mm.build_mcnn({"text": mm.Text(8, 10, backbone=mine)}, 2, width=4)
    assert mine.name == "mine"
    padded = IDS.copy()
    assert model({"text": padded})["label"].shape == (3, 2)
    assert [id(w) for w in model.get_layer("text_backbone").weights] == [
        id(w) for w in mine.weights
    ]


def test_ones_own_embedding_with_a_keras_mask():
    ids = keras.Input((8,), dtype="int32")
    x = keras.layers.Embedding(10, 4, mask_zero=True)(ids)
    mine = keras.Model(ids, keras.layers.GRU(4, return_sequences=True)(x))
    model = mm.build_mcnn({"text": mm.Text(8, 10, backbone=mine)}, 2, width=4)
    assert np.isfinite(model({"text": IDS})["label"]).all()


def dict_model(inputs, outputs):
    tensors = {name: keras.Input((8,), dtype="int32", name=name) for name in inputs}
    x = keras.layers.Embedding(10, 4)(tensors["token_ids"])
    return keras.Model(tensors, dict.fromkeys(outputs, x) if outputs else x)


ERRORS = [
    (
        lambda: ones_own(keras.layers.GlobalAveragePooling1D()),
        r"must return features \(B, 8, C\), one vector a token. Received: \(None, 4\)",
    ),
    (
        lambda: ones_own(keras.layers.AveragePooling1D(2)),
        r"must return features \(B, 8, C\).*Received: \(None, 4, 4\)",
    ),
    (
        lambda: dict_model(["token_ids", "speaker"], None),
        r"\['padding_mask', 'segment_ids', 'token_ids'\]. Received a model that also takes: "
        r"\['speaker'\]",
    ),
    (
        lambda: dict_model(["token_ids"], ["pooled_output"]),
        r"a dict with 'sequence_output'. Received a dict of: \['pooled_output'\]",
    ),
]


@pytest.mark.parametrize(("backbone", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_errors(backbone, message):
    with pytest.raises(ValueError, match=message):
        mm.build_mcnn({"text": mm.Text(8, 10, backbone=backbone())}, 2)


def test_a_loaded_spec_says_that_its_model_is_needed():
    spec = mm.Text(8, 10, backbone=ones_own(keras.layers.Dense(5))).outline()
    with pytest.raises(ValueError, match=r"'model:mine', which stands for a keras.Model"):
        mm.build_mcnn({"text": spec}, 2)


@pytest.mark.parametrize(("trainable", "frozen"), [(False, 2), (1, 1), (True, 0)])
def test_freezing(trainable, frozen):
    mine = ones_own(keras.layers.Dense(5, use_bias=False))
    spec = mm.Text(8, 10, backbone=mine, trainable=trainable)
    model = mm.build_mcnn({"text": spec}, 2)
    assert len(model.non_trainable_weights) == frozen
