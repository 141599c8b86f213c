"""Cross-modal matching: what feeds the classifier, embeddings, ids, the graph that ships."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.layers import ContrastiveLearning
from mm_keras.models.cmn import MATCHINGS
from tests.conformance.cases import floats

SPECS = {
    "image": mm.Features((3, 5), optional=True),
    "text": mm.Features((2, 4), optional=True),
    "sound": mm.Features(6),
}
PAIRS = ("image_sound", "image_text", "sound_text")
# Everything, no image, no text, sound alone.
PRESENT = {
    "image_present": np.array([[1], [0], [1], [0]], "bool"),
    "text_present": np.array([[1], [1], [0], [0]], "bool"),
}
X = {
    "image": floats(4, 3, 5),
    "text": floats(4, 2, 4, seed=1),
    "sound": floats(4, 6, seed=2),
    **PRESENT,
}
Y = {"label": np.array([0, 2, 1, 0])}
LOSS = {"label": mm.losses.classification()}


def build(num_classes=3, specs=None, **options):
    keras.utils.set_random_seed(0)
    return mm.build_cmn(specs or SPECS, num_classes, **{"width": 8, "embedding": 4, **options})


def outputs_of(model, x=X):
    return {name: np.asarray(value) for name, value in model(x, training=False).items()}


def test_names():
    model = build(similarities=True, match=True, pair_ids=True)
    expected = {"label", "image_embedding", "sound_embedding", "text_embedding"}
    expected |= {f"{pair}_{kind}" for pair in PAIRS for kind in ("similarity", "match")}
    assert set(model.output) == expected
    assert set(model.input) == {*X, "pair_id"}
    assert model.output["image_text_similarity"].shape[1:] == (3, 2)
    assert set(build(embedding=None).output) == {"label"}
    assert set(build(None).output) == {f"{name}_embedding" for name in SPECS}


@pytest.mark.parametrize("matching", MATCHINGS)
def test_the_matrix_feeds_the_classifier(matching):
    model = build(mm.Regression(2), matching=matching, fusion=None, similarities=True)
    suffix = "_" + matching
    read = {p: model.get_layer(p + suffix) for p in PAIRS}
    probe = keras.Model(model.input, [layer.output for layer in read.values()])
    parts = [np.asarray(part) for part in probe(X)]
    kernel, bias = model.get_layer("label_logits").get_weights()
    expected = np.concatenate(parts, axis=1) @ kernel + bias
    found = outputs_of(model)
    np.testing.assert_allclose(found["label"], expected, rtol=1e-4, atol=1e-5)
    if matching != "alignment":
        layer = mm.layers.SimilarityPooling(matching, filters=16)
        layer(found["image_text_similarity"])
        layer.set_weights(read["image_text"].get_weights())
        masks = {"rows": X["image_present"], "columns": X["text_present"]}
        pooled = layer(found["image_text_similarity"], **masks)
        np.testing.assert_allclose(pooled, parts[1], rtol=1e-5, atol=1e-6)


def test_fused_features_stand_beside_the_matrices():
    with_fusion, alone = build(fusion="concat"), build(fusion=None)
    wide, narrow = (m.get_layer("label_logits").kernel.shape[0] for m in (with_fusion, alone))
    assert (wide, narrow) == (3 * 16 + 3 * 8, 3 * 16)


def test_similarities_are_those_of_the_features():
    model = build(similarity="cosine", similarities=True)
    features = keras.Model(
        model.input, [model.get_layer(f"{name}_activation").output for name in ("image", "text")]
    )
    a, b = (np.asarray(x) for x in features(X))
    cosine = np.einsum("bid,bjd->bij", a, b)
    cosine /= np.linalg.norm(a, axis=-1)[:, :, None] * np.linalg.norm(b, axis=-1)[:, None]
    cosine[1:] = 0  # one of both is absent
    np.testing.assert_allclose(
        outputs_of(model)["image_text_similarity"], cosine, rtol=1e-4, atol=1e-5
    )


def test_embeddings_have_length_one_where_present():
    found = outputs_of(build())
    for name in SPECS:
        present = X.get(f"{name}_present", np.ones((4, 1), "bool"))[:, 0]
        lengths = np.linalg.norm(found[f"{name}_embedding"], axis=1)
        np.testing.assert_allclose(lengths, present, rtol=1e-5)
        assert found[f"{name}_embedding"].dtype == "float32"


def test_absent_modalities_have_no_effect_and_change_only_what_they_are_in():
    model = build(similarities=True, match=True)
    expected = outputs_of(model)
    spoilt = dict(X)
    for name in ("image", "text"):
        absent = ~X[f"{name}_present"][:, 0]
        spoilt[name] = X[name].copy()
        spoilt[name][absent] = np.nan
    for name, value in outputs_of(model, spoilt).items():
        np.testing.assert_array_equal(value, expected[name])
    present = X["image_present"] & X["text_present"]
    np.testing.assert_array_equal(expected["image_text_match"] == 0, ~present)
    assert (expected["image_text_match"][present] > 0).all()


def test_one_part_of_the_model_embeds_one_modality():
    model = build(match=True, pair_ids=True)
    part = mm.inference_model(model, outputs=["text_embedding"])
    assert set(part.input) == {"text", "text_present"}
    found = part({name: X[name] for name in part.input})["text_embedding"]
    expected = outputs_of(model, X | {"pair_id": np.zeros((4, 1), "int32")})["text_embedding"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_ships_has_no_loss_and_no_ids():
    options = {"match": True, "pair_ids": True, "auxiliary_heads": True, "modality_dropout": 0.5}
    model = build(similarities=True, **options)
    shipped = mm.inference_model(model)
    assert "pair_id" in model.input
    assert set(shipped.input) == set(X)
    assert not [name for name in shipped.output if name.startswith(("image_label", "text_label"))]
    assert not [x for x in shipped.layers if isinstance(x, mm.layers.TrainingOnly)]
    shipped(X, training=True)
    assert not shipped.losses
    expected = outputs_of(model, X | {"pair_id": np.arange(4)[:, None]})
    for name, value in outputs_of(shipped).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


def test_it_exports_to_saved_model(tmp_path):
    import tensorflow as tf

    model = build(match=True, pair_ids=True, similarities=True)
    mm.export(model, tmp_path / "model", format="saved_model", check=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    found = loaded.serve({name: tf.constant(value) for name, value in X.items()})
    expected = outputs_of(mm.inference_model(model))
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_the_labels_plus_the_contrast():
    model = build(contrastive="siglip", contrastive_weight=0.5)
    model.compile(keras.optimizers.SGD(0.0), LOSS, jit_compile=False)
    total = model.train_on_batch(X, Y)
    model(X, training=True)
    found = outputs_of(model)
    label = mm.losses.classification()(Y["label"], found["label"])
    layer = ContrastiveLearning("siglip", weight=0.5)
    embeddings = {name: found[f"{name}_embedding"] for name in SPECS}
    mask = {name: X[f"{name}_present"] for name in ("image", "text")}
    layer(embeddings, mask=mask, training=True)
    assert float(layer.losses[0]) > 0.1
    np.testing.assert_allclose(total, float(label) + float(layer.losses[0]), rtol=1e-4)


def pairs(size=24, seed=0):
    """Two views of what is the same, each through a map of its own."""
    hidden = floats(size, 4, seed=seed)
    return {"a": hidden @ floats(4, 6, seed=10), "b": hidden @ floats(4, 6, seed=11)}


PAIR_SPECS = {name: mm.Features(6, activation=None) for name in "ab"}


def retrieval(model, x):
    found = outputs_of(mm.inference_model(model), x)
    return mm.evaluate.retrieval_metrics(found["a_embedding"], found["b_embedding"])


@pytest.mark.parametrize("contrastive", ["info_nce", "siglip", "vse", "triplet"])
def test_embeddings_learn_to_find_their_partner(contrastive):
    model = build(None, PAIR_SPECS, contrastive=contrastive, embedding=8)
    before = retrieval(model, pairs(seed=5))
    model.compile(keras.optimizers.Adam(0.03), jit_compile=False)
    warm_up = [mm.training.HardNegativeWarmUp(10)] if contrastive == "vse" else []
    model.fit(pairs(), batch_size=24, epochs=60, verbose=0, callbacks=warm_up)
    after = retrieval(model, pairs(seed=5))  # pairs that it has not seen
    assert after["R@5"] > 0.7 > before["R@5"]


def test_ids_make_rows_positives_of_each_other():
    ids = np.array([[0], [1], [0], [1]])
    model = build(None, PAIR_SPECS, pair_ids=True)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    x = pairs(4)
    losses = [model.train_on_batch(x | {"pair_id": i}) for i in (ids, np.arange(4)[:, None])]
    found = outputs_of(mm.inference_model(model), x)
    embeddings = {name: found[f"{name}_embedding"] for name in "ab"}
    layer, expected = ContrastiveLearning(), []
    for kwargs in ({"ids": ids}, {}):
        layer(embeddings, training=True, **kwargs)
        expected.append(float(layer.losses[-1]))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert abs(losses[0] - losses[1]) > 0.01


def test_anchor_leaves_pairs_of_the_others_without_loss():
    x = {name: floats(4, 6, seed=seed) for seed, name in enumerate("abc")}
    model = build(None, dict.fromkeys("abc", mm.Features(6)), anchor="b")
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    loss = model.train_on_batch(x)
    found = outputs_of(mm.inference_model(model), x)
    layer = ContrastiveLearning()
    embeddings = {name: found[f"{name}_embedding"] for name in "abc"}
    layer.build({name: value.shape for name, value in embeddings.items()})
    losses = layer.pair_losses(embeddings)
    assert loss == pytest.approx(float(losses["a", "b"] + losses["b", "c"]) / 2, rel=1e-4)
    assert loss != pytest.approx(float(losses["a", "c"]), rel=1e-3)


def test_match_tells_right_pairs_from_wrong_ones():
    model = build(None, PAIR_SPECS, match=True, embedding=8, contrastive=None)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    x = pairs(48)
    model.fit(x, batch_size=24, epochs=120, verbose=0)
    right = outputs_of(model, x)["a_b_match"]
    wrong = outputs_of(model, {"a": x["a"], "b": np.roll(x["b"], 1, axis=0)})["a_b_match"]
    assert right.mean() > wrong.mean() + 0.3


def test_heads_of_every_kind():
    heads = {"digit": 3, "tags": mm.MultiLabel(2), "size": mm.Regression(1)}
    model = build(heads, auxiliary_heads=True)
    assert {name: output.shape[-1] for name, output in model.output.items()} == {
        **{"digit": 3, "tags": 2, "size": 1},
        **{f"{m}_{h}": n for m in SPECS for h, n in (("digit", 3), ("tags", 2), ("size", 1))},
        **{f"{m}_embedding": 4 for m in SPECS},
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"specs": {"image": mm.Features(3)}},
            ValueError,
            r"`modalities` must be two or more, which are matched.*build_mcnn.*\['image'\]",
        ),
        ({"similarity": "cos"}, ValueError, "`similarity` must be one of.*Did you mean 'cosine'"),
        ({"matching": "align"}, ValueError, "`matching` must be one of"),
        ({"contrastive": "clip"}, ValueError, "`contrastive` must be one of"),
        ({"temperature": 0.0}, ValueError, "`temperature` must be above 0"),
        ({"temperature": -1}, ValueError, "`temperature` must be at least 0"),
        ({"contrastive": "vse", "temperature": 0.1}, ValueError, "`temperature` must be None"),
        ({"margin": -0.1}, ValueError, "`margin` must be at least 0"),
        ({"anchor": "picture"}, ValueError, "`anchor` must be None or one of the modalities"),
        ({"contrastive_weight": -1}, ValueError, "`contrastive_weight` must be at least 0"),
        ({"match_weight": -1}, ValueError, "`match_weight` must be at least 0"),
        ({"embedding": 1}, ValueError, "`embedding` must be an integer of at least 2"),
        ({"embedding": 4.0}, TypeError, "`embedding` must be an integer"),
        ({"embedding": None, "match": True}, ValueError, "`match` must be False without emb"),
        ({"embedding": None, "pair_ids": True}, ValueError, "`pair_ids` must be False without"),
        ({"contrastive": None, "pair_ids": True}, ValueError, "where no loss reads the ids"),
        ({"num_classes": None, "embedding": None}, ValueError, "`num_classes` must not be None"),
        ({"num_classes": None, "contrastive": None}, ValueError, "`num_classes` must not be None"),
        ({"similarities": 1}, TypeError, "`similarities` must be a bool"),
        ({"match": "yes"}, TypeError, "`match` must be a bool"),
        ({"num_classes": {"image_embedding": 2}}, ValueError, r"Received twice: \['image_emb"),
        ({"width": 0}, ValueError, "`width`"),
        ({"hidden": 3}, TypeError, "`hidden`"),
        ({"dropout": 1.0}, ValueError, "`dropout`"),
        ({"modality_dropout": 1.0}, ValueError, "`modality_dropout`"),
        ({"fusion": "conkat"}, ValueError, "`fusion` must be one of"),
        ({"pooling": "median"}, ValueError, "`mode` must be one of|`pooling` must be one of"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)
