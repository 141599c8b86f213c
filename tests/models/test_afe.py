"""Adversarial feature learning: who gets which gradient, and what of the target is seen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.testing import gradients
from tests.conformance.cases import floats

FEATURES = {"a": mm.Features(4)}
X = {"a": floats(6, 4)}
LABELS = np.array([0, 1, 2, 0, 1, 2])
DOMAINS = np.array([0, 0, 0, 1, 1, 1])
LOSS = mm.losses.classification()
MATRIX = {"label": LOSS, "domain": LOSS}


def build(seed=0, modalities=FEATURES, num_classes=3, **options):
    keras.utils.set_random_seed(seed)
    return mm.build_afe(modalities, num_classes, **{"width": 5, "domain_hidden": (4,), **options})


def losses_of(model, weights, x=None):
    """Gradients by path of `Σ weight · loss` over the named outputs."""
    y = {"label": LABELS, "domain": DOMAINS}

    def total():
        outputs = model(x or X, training=True)
        return sum(w * LOSS(y[key.split("_")[-1]], outputs[key]) for key, w in weights.items())

    with tf.GradientTape() as tape:
        value = total()
    variables = model.trainable_variables
    found = tape.gradient(value, [v.value for v in variables])
    return {
        v.path: np.zeros(v.shape) if g is None else g.numpy()
        for v, g in zip(variables, found, strict=True)
    }


def parts(found):
    """Splits gradients by path into encoder, classifier and discriminator."""
    kinds = {"a_": "encoder", "lab": "classifier", "dom": "discriminator"}
    split = {kind: [] for kind in kinds.values()}
    for path, gradient in found.items():
        kind = next(kinds[start] for start in kinds if path.startswith(start))
        split[kind].append(gradient.ravel())
    return {kind: np.concatenate(values) for kind, values in split.items()}


@pytest.mark.parametrize("method", ["dann", "cdan"])
@pytest.mark.parametrize("factor", [0.0, 0.7])
def test_gradients(factor, method):
    model = build(method=method, reversal=factor)
    both = parts(losses_of(model, {"label": 1.0, "domain": 1.0}))
    label = parts(losses_of(model, {"label": 1.0}))
    model.get_layer("domain_reversal").current_factor.assign(1.0)
    domain = parts(losses_of(model, {"domain": 1.0}))
    assert np.any(domain["encoder"])
    np.testing.assert_allclose(
        both["encoder"], label["encoder"] + factor * domain["encoder"], rtol=1e-4, atol=1e-7
    )
    if factor == 0.0:  # features are learnt from labels alone
        np.testing.assert_array_equal(both["encoder"], label["encoder"])
    np.testing.assert_array_equal(both["classifier"], label["classifier"])
    assert not np.any(domain["classifier"])  # predictions are detached
    np.testing.assert_array_equal(both["discriminator"], domain["discriminator"])
    assert not np.any(label["discriminator"])


def test_the_encoder_goes_against_the_discriminator():
    model = build(reversal=1.0)
    before = float(LOSS(DOMAINS, model(X)["domain"]))
    kernel = model.get_layer("a_projection").kernel
    found = losses_of(model, {"domain": 1.0})["a_projection/kernel"]
    assert np.any(found)
    kernel.assign(kernel - 0.01 * found / np.linalg.norm(found))  # descent, as an optimizer does
    assert float(LOSS(DOMAINS, model(X)["domain"])) > before


@pytest.mark.parametrize("domains", [2, 3])
def test_a_discriminator_that_knows_nothing_loses_ln_of_the_domains(domains):
    model = build(domains=domains)
    layer = model.get_layer("domain_logits")
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    outputs = model(X)
    np.testing.assert_allclose(LOSS(DOMAINS, outputs["domain"]), np.log(domains), rtol=1e-6)


def test_the_conditional_discriminator_sees_features_times_predictions():
    model = build(method="cdan")
    joined = keras.Model(
        model.input,
        {
            "joined": model.get_layer("domain_conditional").output,
            "features": model.get_layer("label_logits").input,
            "label": model.output["label"],
        },
    )(X)
    expected = np.einsum("bd,bc->bdc", joined["features"], joined["label"]).reshape(6, -1)
    np.testing.assert_allclose(joined["joined"], expected, rtol=1e-5)


def test_entropy_conditioning_weighs_each_sample():
    keras.utils.set_random_seed(0)
    plain, weighed = build(method="cdan"), build(method="cdan", entropy_conditioning=True)
    weighed.set_weights(plain.get_weights())
    p = plain(X)["label"].numpy()
    w = 1 + np.exp(np.sum(p * np.log(p), axis=1))
    w /= w.mean()
    assert w.std() > 0.01
    with tf.GradientTape() as tape:
        value = LOSS(DOMAINS, plain(X, training=True)["domain"], sample_weight=w)
    kernel = plain.get_layer("domain_hidden_1").kernel
    expected = tape.gradient(value, kernel.value)
    found = losses_of(weighed, {"domain": 1.0})
    np.testing.assert_allclose(
        next(g for path, g in found.items() if path == "domain_hidden_1/kernel"),
        expected,
        rtol=1e-4,
        atol=1e-7,
    )


def test_predictions_to_adapt_are_an_output_of_training():
    model = build(adapt_predictions=True)
    outputs = model(X)
    np.testing.assert_array_equal(outputs["label_domain"], outputs["label"])
    assert sorted(mm.inference_model(model).output) == ["label"]


def test_mmd_gives_features_and_training_draws_domains_together():
    model = build(method="mmd", reversal=0.0)
    features = keras.Model(model.input, model.get_layer("label_logits").input)
    np.testing.assert_array_equal(model(X)["domain"], features(X))
    mmd = mm.losses.MaximumMeanDiscrepancy()
    model.compile(keras.optimizers.Adam(0.02), {"domain": mmd}, jit_compile=False)
    x = {"a": X["a"] + 3.0 * DOMAINS[:, None] * np.array([1, 0, 0, 0], "float32")}
    history = model.fit(x, {"domain": DOMAINS}, epochs=30, batch_size=6, verbose=0)
    first, last = history.history["loss"][0], history.history["loss"][-1]
    assert last < 0.5 * first


def shifted(size, seed, target):
    """Two classes; the target is moved along a feature that the source's classes differ in."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, size)
    x = rng.normal(size=(size, 4)) * 0.4
    x[:, :2] += (2.0 * y - 1.0)[:, None]
    x[:, 1] += 3.0 * target
    return x.astype("float32"), y


def batches_of(source, target, **options):
    xs, ys = source
    data = tf.data.Dataset.from_tensor_slices(({"a": xs}, ys)).shuffle(1000, seed=0)
    other = tf.data.Dataset.from_tensor_slices(target)
    return mm.data.domain_batches(data, other, 64, **options)


def test_alignment_raises_the_accuracy_on_the_target():
    (xs, ys), (xt, yt) = shifted(400, 0, False), shifted(400, 1, True)
    batches = batches_of((xs, ys), {"a": xt})
    accuracy = {}
    for factor in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        model = mm.build_afe(FEATURES, 2, width=8, reversal=factor)
        model.compile(keras.optimizers.Adam(0.005), MATRIX, jit_compile=False)
        callbacks = [mm.training.ReversalSchedule()]
        model.fit(batches, epochs=25, verbose=0, callbacks=callbacks)
        label = np.asarray(model({"a": xt})["label"])
        accuracy[factor] = (label.argmax(axis=1) == yt).mean()
    assert accuracy[0.0] < 0.75
    assert accuracy[1.0] > 0.9


def test_shuffling_the_labels_of_the_target_changes_nothing():
    source, (xt, yt) = shifted(60, 0, False), shifted(60, 1, True)
    weights = []
    for labels in (yt, np.random.default_rng(5).permutation(yt), np.full_like(yt, 7)):
        model = build(num_classes=2, method="cdan", adapt_predictions=True)
        losses = MATRIX | {"label_domain": mm.losses.InformationMaximization()}
        model.compile("adam", losses, jit_compile=False)
        batches = batches_of(source, ({"a": xt}, labels))
        model.fit(mm.data.labels_for_outputs(batches, model), epochs=2, verbose=0)
        weights.append(model.get_weights())
    for others in weights[1:]:
        for one, other in zip(weights[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_labels_of_the_target_count_where_they_are_known():
    source, (xt, yt) = shifted(60, 0, False), shifted(60, 1, True)
    found = []
    for known in (0.0, 1.0):
        model = build(num_classes=2)
        model.compile("adam", MATRIX, jit_compile=False)
        weight = np.full(len(yt), known, "float32")
        model.fit(batches_of(source, ({"a": xt}, yt, weight)), epochs=1, verbose=0)
        found.append(model.get_weights())
    assert any(np.any(a != b) for a, b in zip(*found, strict=True))


def test_a_weight_of_0_does_not_move_the_encoder():
    model = build(reversal=0.0)
    before = dict(zip([w.path for w in model.weights], model.get_weights(), strict=True))
    model.compile(keras.optimizers.SGD(0.5), {"domain": LOSS}, jit_compile=False)
    model.fit(X, {"domain": DOMAINS}, verbose=0)
    for weight in model.weights:
        moved = np.any(weight.numpy() != before[weight.path])
        discriminates = weight.path.startswith("domain_") and "factor" not in weight.path
        assert moved == discriminates, weight.path


def two_modalities(**options):
    modalities = {"a": mm.Features(4, optional=True), "b": mm.Features((2, 3))}
    return build(modalities=modalities, align="each", **options)


def test_each_modality_is_aligned_by_itself():
    model = two_modalities()
    assert sorted(model.output) == ["a_domain", "b_domain", "label"]
    x = {
        "a": floats(6, 4),
        "a_present": np.ones((6, 1), "bool"),
        "b": floats(6, 2, 3),
    }
    for name, other in (("a", "b"), ("b", "a")):
        found = losses_of(model, {f"{name}_domain": 1.0}, x)
        moved = {path.split("/")[0] for path, gradient in found.items() if np.any(gradient)}
        assert f"{name}_projection" in moved
        assert all(path.startswith(f"{name}_") for path in moved), moved
        assert f"{other}_projection" not in moved
    batch = ({"a": x["a"]}, {"label": LABELS, "domain": DOMAINS})
    data = tf.data.Dataset.from_tensor_slices(batch).batch(2)
    outputs = mm.data.labels_for_outputs(data, model).element_spec[1]
    assert sorted(outputs) == sorted(model.output)


def test_an_absent_modality_has_no_effect_on_its_discriminator():
    model = two_modalities(method="cdan", entropy_conditioning=True)
    present = np.array([[1], [1], [0], [1], [0], [0]], "bool")
    x = {"a": floats(6, 4), "a_present": present, "b": floats(6, 2, 3)}
    rows = present[:, 0]
    here = {key: value[rows] for key, value in x.items()}

    def gradient(inputs, domains):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            each = keras.losses.sparse_categorical_crossentropy(domains, outputs["a_domain"])
            value = tf.reduce_sum(each)
        variables = [v for v in model.trainable_variables if v.path.startswith("a_")]
        return tape.gradient(value, [v.value for v in variables])

    found, expected = gradient(x, DOMAINS), gradient(here, DOMAINS[rows])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    nothing = gradient({**x, "a_present": np.zeros((6, 1), "bool")}, DOMAINS)
    assert not any(np.any(g) for g in nothing)


def test_several_heads_and_logits():
    heads = {"digit": mm.Classification(3, logits=True), "colour": 2}
    model = build(num_classes=heads, method="cdan", entropy_conditioning=True)
    outputs = model(X)
    assert model.get_layer("domain_conditional").output.shape == (None, 5 * 5)
    condition = keras.Model(model.input, model.get_layer("predictions").output)(X)
    expected = [outputs["colour"], keras.ops.softmax(outputs["digit"])]
    np.testing.assert_allclose(condition, np.concatenate(expected, axis=1), rtol=1e-5)
    mixed = build(num_classes={"tags": mm.MultiLabel(2), "size": mm.Regression(1)})
    assert sorted(mixed.output) == ["domain", "size", "tags"]


def test_sequences_of_a_fusion_are_pooled():
    model = build(
        modalities={"a": mm.Features((2, 3)), "b": mm.Features((3, 3))},
        fusion="cross_attention",
        width=8,
    )
    x = {"a": floats(6, 2, 3), "b": floats(6, 3, 3)}
    assert model(x)["domain"].shape == (6, 2)


@pytest.mark.parametrize("method", ["dann", "cdan", "mmd"])
def test_what_ships_is_the_classifier(method, tmp_path):
    model = build(method=method)
    shipped = mm.inference_model(model)
    assert not any("domain" in layer.name for layer in shipped.layers)
    np.testing.assert_array_equal(shipped(X)["label"], model(X)["label"])
    mm.export(model, str(tmp_path / "served"), format="saved_model", check=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(X)["label"], model(X)["label"], rtol=1e-5)


def test_inputs_get_no_gradient_from_the_domain_at_factor_0():
    model = build(reversal=0.0)
    found = gradients(lambda x: model({"a": x["a"]})["domain"], None, X)
    assert not np.any(found["a"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "dan"}, ValueError, "`method` must be one of .*Did you mean 'dann'"),
        ({"align": "all"}, ValueError, "`align` must be one of"),
        ({"domains": 1}, ValueError, "`domains` must be an integer of at least 2"),
        ({"reversal": -1.0}, ValueError, "`reversal` must be at least 0"),
        ({"domain_hidden": 3}, TypeError, "`domain_hidden` must be a sequence"),
        ({"entropy_conditioning": 1}, TypeError, "`entropy_conditioning` must be a bool"),
        ({"adapt_predictions": 1}, TypeError, "`adapt_predictions` must be a bool"),
        (
            {"method": "cdan", "num_classes": mm.Regression(1)},
            ValueError,
            r"`num_classes` must have heads for classes only with method='cdan'.*\['label'\]",
        ),
        (
            {"entropy_conditioning": True, "num_classes": mm.MultiLabel(2)},
            ValueError,
            "`num_classes` must have heads for classes only",
        ),
        (
            {"adapt_predictions": True, "num_classes": mm.MultiLabel(2)},
            ValueError,
            "`num_classes` must have heads for classes only with adapt_predictions=True",
        ),
        (
            {"num_classes": {"domain": 2}},
            ValueError,
            r"must not have names of outputs for the domain. Received: \['domain'\]",
        ),
        (
            {"modalities": {"domain": mm.Features(4)}},
            ValueError,
            "must not have names of outputs for the domain",
        ),
        (
            {
                "modalities": {"a": mm.Features(4, optional=True)},
                "method": "mmd",
                "align": "each",
            },
            ValueError,
            r"`align` must be 'fused' with method='mmd'.*\['a'\]",
        ),
        ({"width": 0}, ValueError, "`width`"),
        ({"dropout": 1.0}, ValueError, "`dropout`"),
        ({"fusion": "conkat"}, ValueError, "`fusion` must be one of"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)
