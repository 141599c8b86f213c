"""build_mcnn: what it computes, against NumPy; its options; its heads."""

import keras
import numpy as np
import pytest

import mm_keras as mm

PAIR = {"a": mm.Features(3, activation=None), "b": mm.Features((2, 4), activation=None)}


def random_weights(model, seed=0):
    noise = np.random.default_rng(seed)
    model.set_weights([noise.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def inputs(size=5, seed=1):
    noise = np.random.default_rng(seed)
    return {
        "a": noise.normal(size=(size, 3)).astype("float32"),
        "b": noise.normal(size=(size, 2, 4)).astype("float32"),
    }


def affine(model, name, x):
    kernel, bias = model.get_layer(name).get_weights()
    return x @ kernel + bias


def concatenated(model, x):
    """Pooled features of all modalities, in the order of their names, in NumPy."""
    pooled = [affine(model, "a_projection", x["a"]), affine(model, "b_projection", x["b"]).mean(1)]
    return np.concatenate(pooled, axis=-1)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_output_is_a_softmax_of_an_affine_map_of_the_concatenated_features(order):
    model = random_weights(mm.build_mcnn({name: PAIR[name] for name in order}, 4, width=6))
    x = inputs()
    expected = softmax(affine(model, "label_logits", concatenated(model, x)))
    np.testing.assert_allclose(model(x)["label"], expected, atol=1e-5)


def test_pairs_serve_as_a_dict_does():
    x = inputs()
    results = [
        random_weights(mm.build_mcnn(modalities, 4, width=6))(x)["label"]
        for modalities in (PAIR, list(PAIR.items()), iter(PAIR.items()))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_one_modality_is_enough():
    model = mm.build_mcnn({"a": mm.Features(3)}, 2)
    assert model({"a": np.zeros((2, 3))})["label"].shape == (2, 2)


def test_hidden_layers_have_relu():
    model = random_weights(mm.build_mcnn(PAIR, 4, width=6, hidden=[5, 3]))
    x = inputs()
    expected = concatenated(model, x)
    for depth in (1, 2):
        expected = np.maximum(affine(model, f"hidden_{depth}", expected), 0)
    expected = softmax(affine(model, "label_logits", expected))
    np.testing.assert_allclose(model(x)["label"], expected, atol=1e-5)


def test_dropout_comes_before_each_dense_layer():
    model = mm.build_mcnn(PAIR, 4, hidden=[5, 3], dropout=0.25, seed=3)
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in drops] == [0.25] * 3
    assert [layer.seed for layer in drops] == [3] * 3
    names = [layer.name for layer in model.layers]
    for drop, dense in (
        ("dropout_1", "hidden_1"),
        ("dropout_2", "hidden_2"),
        ("dropout", "label_logits"),
    ):
        assert names.index(dense) == names.index(drop) + 1


def test_seed_makes_training_repeatable():
    results = []
    for _ in range(2):
        model = mm.build_mcnn(PAIR, 4, dropout=0.5, modality_dropout=0.5, seed=3)
        results.append(random_weights(model)(inputs(), training=True)["label"].numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling(pooling):
    model = random_weights(mm.build_mcnn({"b": PAIR["b"]}, mm.Regression(2), pooling=pooling))
    x = {"b": inputs()["b"]}
    pooled = getattr(np, pooling)(affine(model, "b_projection", x["b"]), axis=1)
    np.testing.assert_allclose(
        model(x)["label"], affine(model, "label_logits", pooled), rtol=1e-4, atol=1e-4
    )


def test_attention_pooling_is_there():
    weights = [
        len(mm.build_mcnn({"b": PAIR["b"]}, 2, pooling=pooling).weights)
        for pooling in ("mean", "attention")
    ]
    assert weights[1] == weights[0] + 1


@pytest.mark.parametrize("fusion", mm.layers.FUSIONS)
def test_fusions_by_name(fusion):
    model = mm.build_mcnn(PAIR, 4, fusion=fusion, width=4)
    cls, options = mm.layers.FUSIONS[fusion]
    layer = model.get_layer("fusion")
    assert isinstance(layer, cls)
    assert options.items() <= layer.get_config().items()
    assert model(inputs())["label"].shape == (5, 4)


def test_ones_own_fusion():
    @keras.saving.register_keras_serializable("test_mcnn")
    class First(keras.layers.Layer):
        def call(self, features, mask=None):
            return features["b"]  # a sequence, which the head pools

    model = random_weights(mm.build_mcnn(PAIR, mm.Regression(2), fusion=First(), width=4))
    x = inputs()
    pooled = affine(model, "b_projection", x["b"]).mean(axis=1)
    expected = affine(model, "label_logits", pooled)
    np.testing.assert_allclose(model(x)["label"], expected, atol=1e-5)


def test_the_graph_is_plain_and_named():
    model = mm.build_mcnn(PAIR, 4, name="mine")
    assert model.name == "mine"
    assert sorted(model.input) == ["a", "b"]
    assert sorted(model.output) == ["label"]
    assert model.get_layer("a").output is model.input["a"]
    names = {layer.name for layer in model.layers}
    assert {"a_input", "a_projection", "fusion", "label_logits", "label"} <= names


# Heads.

ACTIVATIONS = {
    mm.Classification: softmax,
    mm.MultiLabel: lambda x: 1 / (1 + np.exp(-x)),
    mm.Regression: lambda x: x,
}


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("head", ACTIVATIONS)
def test_heads(head, logits):
    model = random_weights(mm.build_mcnn(PAIR, {"y": head(3, logits=logits)}, width=4))
    x = inputs()
    expected = affine(model, "y_logits", concatenated(model, x))
    expected = expected if logits else ACTIVATIONS[head](expected)
    np.testing.assert_allclose(model(x)["y"], expected, atol=1e-5)


@pytest.mark.parametrize("logits", [False, True])
def test_a_head_s_usual_loss_knows_what_its_output_is(logits):
    scores = np.array([[1.0, -2.0, 0.5]], "float32")
    found = {
        head: float(head(3, logits=logits).make_loss()(y, scores if logits else predict(scores)))
        for head, y, predict in (
            (mm.Classification, np.array([2]), softmax),
            (mm.MultiLabel, np.array([[1.0, 0.0, 1.0]]), lambda x: 1 / (1 + np.exp(-x))),
            (mm.Regression, np.zeros((1, 3)), lambda x: x),
        )
    }
    signs = np.array([1.0, -1.0, 1.0])
    assert found[mm.Classification] == pytest.approx(-np.log(softmax(scores)[0, 2]), rel=1e-5)
    assert found[mm.MultiLabel] == pytest.approx(np.log1p(np.exp(-signs * scores)).mean(), rel=1e-5)
    assert found[mm.Regression] == pytest.approx((scores**2).mean(), rel=1e-5)


def test_several_heads_train_together():
    heads = {"digit": 3, "tags": mm.MultiLabel(2), "size": mm.Regression(1)}
    model = mm.build_mcnn(PAIR, heads, width=4)
    assert {name: output.shape for name, output in model.output.items()} == {
        "digit": (None, 3),
        "tags": (None, 2),
        "size": (None, 1),
    }
    losses = {
        "digit": mm.Classification(3).make_loss(),
        "tags": heads["tags"].make_loss(),
        "size": heads["size"].make_loss(),
    }
    model.compile(keras.optimizers.SGD(0.1), losses, jit_compile=False)
    labels = {
        "digit": np.array([0, 1, 2, 0, 1]),
        "tags": np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1]]),
        "size": np.arange(5.0)[:, None],
    }
    before = {w.path: w.numpy() for w in model.weights}
    history = model.fit(inputs(), labels, epochs=5, batch_size=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for weight in model.trainable_weights:
        assert not np.array_equal(weight, before[weight.path]), weight.path


def test_defaults_fit():
    model = mm.build_mcnn(PAIR, 3)
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    labels = np.array([0, 1, 2, 0, 1])
    losses = model.fit(inputs(), labels, epochs=10, batch_size=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# Branches for training only.


def test_auxiliary_heads_see_one_modality_each():
    heads = {"y": mm.Regression(2), "z": 3}
    model = random_weights(mm.build_mcnn(PAIR, heads, width=4, auxiliary_heads=True))
    assert sorted(model.output) == ["a_y", "a_z", "b_y", "b_z", "y", "z"]
    x, other = inputs(), inputs(seed=2)
    mixed = {"a": x["a"], "b": other["b"]}
    found, changed = model(x), model(mixed)
    np.testing.assert_array_equal(found["a_y"], changed["a_y"])
    assert np.abs(found["b_y"].numpy() - changed["b_y"]).min() > 0
    pooled = affine(model, "b_projection", x["b"]).mean(axis=1)
    np.testing.assert_allclose(found["b_y"], affine(model, "b_y_head_logits", pooled), atol=1e-5)


def test_inference_model_drops_what_only_training_needs():
    options = {"width": 4, "auxiliary_heads": True, "modality_dropout": 0.5, "dropout": 0.1}
    model = random_weights(mm.build_mcnn(PAIR, 3, **options))
    shipped = mm.inference_model(model)
    plain = mm.build_mcnn(PAIR, 3, width=4)
    assert sorted(shipped.output) == ["label"]
    assert shipped.count_params() == plain.count_params() < model.count_params()
    assert not [x for x in shipped.layers if isinstance(x, mm.layers.TrainingOnly)]
    x = inputs()
    np.testing.assert_array_equal(shipped(x)["label"], model(x)["label"])
    # The model itself is as it was, and shares its weights.
    assert len(model.output) == 3
    shipped.get_layer("label_logits").bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(shipped(x)["label"], model(x)["label"])


def test_inference_model_bypasses_modality_dropout_even_in_training():
    model = random_weights(mm.build_mcnn(PAIR, mm.Regression(2), width=4, modality_dropout=0.9))
    x, shipped = inputs(), mm.inference_model(model)
    assert np.abs(model(x, training=True)["label"].numpy() - model(x)["label"]).max() > 1e-3
    np.testing.assert_allclose(shipped(x, training=True)["label"], model(x)["label"], atol=1e-6)


def test_modality_dropout_drops_modalities_as_a_whole():
    model = random_weights(
        mm.build_mcnn(PAIR, mm.Regression(2), width=4, modality_dropout=0.5, seed=1)
    )
    x = {name: np.repeat(value[:1], 64, axis=0) for name, value in inputs().items()}
    found = np.unique(model(x, training=True)["label"].numpy().round(4), axis=0)
    kernel, bias = model.get_layer("label_logits").get_weights()
    both = concatenated(model, x)[:1]
    only_a, only_b = both * ([1] * 4 + [0] * 4), both * ([0] * 4 + [1] * 4)
    expected = [(kept @ kernel + bias)[0] for kept in (both, only_a, only_b)]  # never neither
    np.testing.assert_allclose(found, np.unique(np.round(expected, 4), axis=0), atol=2e-4)


@pytest.mark.parametrize("model", [None, "m", keras.layers.Dense(1)])
def test_inference_model_needs_a_functional_model(model):
    with pytest.raises(TypeError, match=r"`model` must be a functional keras.Model, which a build"):
        mm.inference_model(model)


def test_modalities_of_a_model_and_of_its_copies(tmp_path):
    model = mm.build_mcnn(PAIR, 2)
    model.save(tmp_path / "m.keras")
    copies = [
        model,
        mm.inference_model(model),
        keras.models.clone_model(model),
        keras.models.load_model(tmp_path / "m.keras"),
    ]
    for copy in copies:
        assert mm.modalities_of(copy) == PAIR
