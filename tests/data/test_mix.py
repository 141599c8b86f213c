"""`mix`: one permutation and one λ for all modalities, labels and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import mix

B, C = 8, 8
NUMBERS = np.arange(B, dtype="int32")  # every sample is a class of its own
CODES = np.arange(1, B + 1, dtype="float32") ** 2  # and holds its own number everywhere


def filled(*shape):
    return CODES.reshape(-1, *[1] * len(shape)) * np.ones((B, *shape), "float32")


SPECS = {
    "image": mm.Image((10, 10, 1), backbone="SmallCNN"),
    "audio": mm.Audio(400, 8000),
    "video": mm.Video(3, (10, 10, 1), backbone="SmallCNN"),
    "views": mm.Views(4, (10, 10, 1), backbone="SmallCNN"),
    "vector": mm.Features(5),
    "sequence": mm.Features((10, 5)),
    "table": mm.Tabular(numeric=("a", "b")),
}
VALUES = {name: filled(*spec.input_shape) for name, spec in SPECS.items()}
TEXT = mm.Text(6, 100)
IDS = (NUMBERS[:, None] + 2) * np.ones((B, 6), "int32")


def batches(values=None, labels=NUMBERS, weights=None, size=B):
    parts = (values if values is not None else VALUES, labels)
    parts = parts if weights is None else (*parts, weights)
    return tf.data.Dataset.from_tensor_slices(parts).batch(size)


def first(dataset):
    return keras.tree.map_structure(lambda part: part.numpy(), next(iter(dataset)))


def shares_of(labels):
    """Returns λ and the partner of each sample, as its soft label says."""
    own = labels[NUMBERS, NUMBERS]
    partner = np.where(own < 1, np.argmax(labels * (1 - np.eye(B)), axis=1), NUMBERS)
    return own, partner


@pytest.mark.parametrize("per_sample", [False, True], ids=["one λ", "λ each"])
def test_mixup_mixes_every_modality_with_one_share(per_sample):
    for seed in range(3):
        mixed, labels = first(mix(batches(), SPECS, C, alpha=1.0, per_sample=per_sample, seed=seed))
        own, partner = shares_of(labels)
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        assert sorted(partner) == list(range(B))
        assert (partner != NUMBERS).any()
        mixing = partner != NUMBERS
        assert (np.ptp(own[mixing]) > 1e-3) == per_sample
        for name, value in VALUES.items():
            share = own.reshape(-1, *[1] * (value.ndim - 1))
            np.testing.assert_allclose(
                mixed[name], share * value + (1 - share) * value[partner], rtol=1e-5, err_msg=name
            )


def test_the_mixup_of_keras_leaves_the_other_modalities_alone():
    """The trap that `mix` is there for: the sound stays the sample's own, its label does not."""
    layer = keras.layers.MixUp(alpha=1.0, seed=0)
    element = {
        "images": VALUES["image"],
        "labels": np.eye(C, dtype="float32"),
        "audio": VALUES["audio"],
    }
    mixed = layer(element)
    assert (np.array(mixed["images"]) != VALUES["image"]).any()
    assert (np.array(mixed["labels"]) != np.eye(C)).any()
    np.testing.assert_array_equal(mixed["audio"], VALUES["audio"])
    ours, _ = first(mix(batches(), SPECS, C, alpha=1.0, seed=0))
    assert (ours["audio"] != VALUES["audio"]).any()


def test_absent_modalities_are_not_blended_with_zeros():
    present = np.arange(B)[:, None] % 2 == 0
    specs = {"vector": SPECS["vector"], "sequence": mm.Features((10, 5), optional=True)}
    values = {
        "vector": VALUES["vector"],
        "sequence": VALUES["sequence"] * present[..., None],
        "sequence_present": present,
    }
    kinds = set()
    for seed in range(4):
        mixed, labels = first(mix(batches(values), specs, C, alpha=1.0, seed=seed))
        # λ from the modality that all have; the labels say what is in the sample.
        own, partner = shares_of(labels)
        there, other = present[:, 0], present[partner, 0]
        np.testing.assert_array_equal(mixed["sequence_present"][:, 0], there | other)
        share = mixed["vector"][:, 0] - CODES[partner]
        same = partner == NUMBERS
        share = np.where(same, 1, share / np.where(same, 1, CODES - CODES[partner]))
        of_sequence = np.where(there & other, share, there)
        expected = of_sequence * CODES + (1 - of_sequence) * CODES[partner]
        expected = np.where(there | other, expected, 0)
        np.testing.assert_allclose(mixed["sequence"][:, 0, 0], expected, rtol=1e-4)
        mean = np.where(there | other, (share + of_sequence) / 2, share)
        np.testing.assert_allclose(own[~same], mean[~same], rtol=1e-3, atol=1e-5)
        kinds |= set(zip(there[~same], other[~same], strict=True))
    assert len(kinds) == 4


def test_single_views_mix_where_they_are():
    spec = {"views": mm.Views(4, (10, 10, 1), backbone="SmallCNN", optional_views=True)}
    present = np.random.default_rng(0).random((B, 4)) < 0.5
    values = {"views": VALUES["views"] * present[..., None, None, None], "views_present": present}
    for method in ("mixup", "cutmix", "modalitymix"):
        mixed, _ = first(mix(batches(values), spec, C, method=method, seed=1))
        there = mixed["views"].reshape(B, 4, -1)
        np.testing.assert_array_equal(there.all(axis=2), mixed["views_present"])
        np.testing.assert_array_equal(there.any(axis=2), mixed["views_present"])


def test_labels_count_by_weight():
    weights = np.arange(B, dtype="float32")  # the label of sample 0 is unknown
    specs = {"vector": SPECS["vector"]}
    data = batches({"vector": VALUES["vector"]}, weights=weights)
    _, labels, mass = first(mix(data, specs, C, alpha=1.0, seed=0))
    own, partner = shares_of(
        first(mix(batches({"vector": VALUES["vector"]}), specs, C, alpha=1.0, seed=0))[1]
    )
    np.testing.assert_allclose(mass, own * weights + (1 - own) * weights[partner], rtol=1e-5)
    expected = (own * weights)[:, None] * np.eye(C) + ((1 - own) * weights[partner])[
        :, None
    ] * np.eye(C)[partner]
    np.testing.assert_allclose(mass[:, None] * labels, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert labels[partner == 0][0, 0] == 0 or partner[0] == 0


def test_the_loss_is_that_of_both_samples_in_their_shares():
    specs, values = {"vector": SPECS["vector"]}, {"vector": VALUES["vector"]}
    weights = np.linspace(0.5, 2, B).astype("float32")
    _, labels, mass = first(mix(batches(values, weights=weights), specs, C, alpha=1.0, seed=0))
    own, partner = shares_of(first(mix(batches(values), specs, C, alpha=1.0, seed=0))[1])
    predicted = np.random.default_rng(0).dirichlet(np.ones(C), B).astype("float32")
    entropy = -np.log(predicted)
    mixed = mm.losses.classification_crossentropy(labels, predicted) * mass
    both = own * weights * entropy[NUMBERS, NUMBERS]
    both += (1 - own) * weights[partner] * entropy[NUMBERS, NUMBERS[partner]]
    np.testing.assert_allclose(mixed, both, rtol=1e-4)


def box_of(picture, foreign):
    """Returns the rows and columns that are foreign, which must be a box."""
    inside = picture == foreign
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    np.testing.assert_array_equal(inside, rows[:, None] & columns[None])
    return rows, columns


@pytest.mark.parametrize("per_sample", [False, True])
def test_cutmix_cuts_the_same_box_everywhere(per_sample):
    names = ("image", "video", "views", "audio", "sequence")
    specs = {name: SPECS[name] for name in names}
    data = batches({name: VALUES[name] for name in names})
    sizes = set()
    for seed in range(3):
        mixed, labels = first(
            mix(data, specs, C, method="cutmix", per_sample=per_sample, seed=seed)
        )
        own, partner = shares_of(labels)
        for row in np.flatnonzero(partner != NUMBERS):
            foreign = CODES[partner[row]]
            rows, columns = box_of(mixed["image"][row, ..., 0], foreign)
            for name in ("video", "views"):
                for picture in mixed[name][row, ..., 0]:
                    np.testing.assert_array_equal(box_of(picture, foreign), (rows, columns))
            shares = [(mixed[name][row] != foreign).mean() for name in names]
            np.testing.assert_allclose(own[row], np.mean(shares), rtol=1e-5)  # what is in it
            np.testing.assert_allclose(shares, own[row], atol=0.12)  # to a row of pixels
            assert np.abs(np.diff(mixed["audio"][row] == foreign)).sum() <= 2
            sizes.add(round(float(own[row]), 3))
    assert len(sizes) > (5 if per_sample else 1)


def test_modalitymix_takes_each_modality_whole():
    names = ("audio", "image", "text", "vector")
    specs = {**SPECS, "text": TEXT}
    specs = {name: specs[name] for name in names}
    values = {name: VALUES.get(name, IDS) for name in names}
    seen = set()
    for seed in range(5):
        data = mix(batches(values), specs, C, method="modalitymix", per_sample=True, seed=seed)
        mixed, labels = first(data)
        sources = {}
        for name in names:
            flat = mixed[name].reshape(B, -1)
            np.testing.assert_array_equal(flat, flat[:, :1] * np.ones_like(flat))
            codes = NUMBERS + 2 if name == "text" else CODES
            sources[name] = np.searchsorted(codes, flat[:, 0])
        taken = np.stack(list(sources.values()), axis=1)
        expected = np.stack([np.bincount(row, minlength=C) for row in taken]) / len(names)
        np.testing.assert_allclose(labels, expected, rtol=1e-6)
        seen |= set(np.round(labels.max(axis=1), 2))
    assert seen >= {0.5, 0.75, 1.0}


def test_modalitymix_takes_no_absent_modality_where_there_is_one():
    present = np.arange(B)[:, None] % 2 == 0
    specs = {"vector": SPECS["vector"], "extra": mm.Features(3, optional=True)}
    values = {"vector": VALUES["vector"], "extra": filled(3) * present, "extra_present": present}
    data = batches(values)
    for seed in range(4):
        mixed, labels = first(mix(data, specs, C, method="modalitymix", seed=seed))
        there = mixed["extra_present"][:, 0]
        np.testing.assert_array_equal(there, mixed["extra"].all(axis=1))
        sources = [np.searchsorted(CODES, mixed["vector"][:, 0])]
        extra = np.searchsorted(CODES, mixed["extra"][:, 0])
        both = np.eye(C)[sources[0]] + there[:, None] * np.eye(C)[extra]
        np.testing.assert_allclose(labels, both / both.sum(axis=1, keepdims=True), rtol=1e-6)
        assert there[present[:, 0]].all()


def test_texts_are_taken_whole_on_request():
    specs = {"vector": SPECS["vector"], "text": TEXT}
    data = batches({"vector": VALUES["vector"], "text": IDS})
    with pytest.raises(ValueError, match=r"'text', a Text: 'mixup' can't. Pass whole=\['text'\]"):
        mix(data, specs, C)
    mixed, labels = first(mix(data, specs, C, whole=["text"], alpha=1.0, seed=2))
    assert (mixed["text"] == mixed["text"][:, :1]).all()
    source = mixed["text"][:, 0] - 2
    blended = mixed["vector"][:, 0]
    np.testing.assert_allclose((labels * CODES).sum(1), (blended + CODES[source]) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "spec", "method"),
    [
        ("table", mm.Tabular(numeric=("a",), categorical={"b": ("x",)}), "mixup"),
        ("table", mm.Tabular(numeric=("a", "b")), "cutmix"),
        ("vector", mm.Features(5), "cutmix"),
    ],
)
def test_what_cannot_be_mixed_is_refused(name, spec, method):
    data = batches({name: VALUES[name]})
    with pytest.raises(ValueError, match=rf"`method` must be one that can mix '{name}'"):
        mix(data, {name: spec}, C, method=method)
    mix(data, {name: spec}, C, method=method, whole=[name])


def test_several_heads_and_labels_of_other_kinds():
    labels = {
        "digit": NUMBERS[:, None],
        "soft": np.eye(3, dtype="float32")[NUMBERS % 3],
        "tags": (NUMBERS[:, None] >> np.arange(3)) & 1,
        "size": CODES,
    }
    specs, values = {"vector": SPECS["vector"]}, {"vector": VALUES["vector"]}
    weights = {
        "digit": np.ones(B),
        "soft": NUMBERS.astype(float),
        "tags": np.ones(B),
        "size": np.ones(B),
    }
    data = batches(values, labels, weights)
    mixed, soft, mass = first(mix(data, specs, {"digit": C, "soft": 3}, alpha=1.0, seed=0))
    own, partner = shares_of(soft["digit"])
    np.testing.assert_allclose(soft["size"], own * CODES + (1 - own) * CODES[partner], rtol=1e-5)
    np.testing.assert_allclose(soft["size"], mixed["vector"][:, 0], rtol=1e-5)
    tags = labels["tags"]
    np.testing.assert_allclose(
        soft["tags"], own[:, None] * tags + (1 - own[:, None]) * tags[partner], rtol=1e-5
    )
    np.testing.assert_allclose(mass["soft"], own * NUMBERS + (1 - own) * partner, rtol=1e-5)
    np.testing.assert_allclose(soft["soft"].sum(axis=1), 1, rtol=1e-5)


def test_uint8_stays_and_rounds():
    pictures = (VALUES["image"] * 3).astype("uint8")
    mixed, labels = first(
        mix(batches({"image": pictures}), {"image": SPECS["image"]}, C, alpha=1.0, seed=0)
    )
    own, partner = shares_of(labels)
    exact = own * pictures[:, 0, 0, 0] + (1 - own) * pictures[partner, 0, 0, 0].astype(float)
    assert mixed["image"].dtype == "uint8"
    assert np.abs(mixed["image"][:, 0, 0, 0] - exact).max() <= 0.51


def test_seeds_epochs_and_parallelism():
    def labels(parallel=1, seed=0, passes=1):
        data = mix(batches(size=4), SPECS, C, alpha=1.0, seed=seed, num_parallel_calls=parallel)
        return [
            np.concatenate([part[1] for part in data.as_numpy_iterator()]) for _ in range(passes)
        ]

    one, two = labels(passes=2)
    np.testing.assert_array_equal(one, labels(4)[0])
    assert (one != two).any()
    assert (one != labels(seed=1)[0]).any()


def test_small_alpha_is_finite():
    mixed, labels = first(mix(batches(), SPECS, C, alpha=0.001, per_sample=True, seed=0))
    assert np.isfinite(labels).all()
    assert np.isfinite(mixed["vector"]).all()


def test_fit_takes_it():
    specs = {"vector": SPECS["vector"], "sequence": SPECS["sequence"]}
    model = mm.build_mcnn(specs, C, width=4)
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    data = batches({name: VALUES[name] for name in specs}, size=3)
    history = model.fit(mix(data, specs, C, seed=0), epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


VECTOR = {"vector": SPECS["vector"]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "mixop"}, ValueError, "`method` must be one of.*Did you mean 'mixup'"),
        ({"alpha": 0.0}, ValueError, "`alpha` must be at least 0.001"),
        ({"per_sample": 1}, TypeError, "`per_sample` must be a bool"),
        ({"whole": "vector"}, TypeError, "`whole` must be a sequence of names"),
        ({"whole": ["vectors"]}, ValueError, "`whole` must be one of"),
        ({"num_classes": None}, ValueError, "`num_classes` must say how many classes 'label' has"),
        ({"num_classes": {"label": C}}, ValueError, "must be a number, or None"),
        ({"num_classes": 0}, ValueError, "`num_classes` must be an integer of at least 1"),
        ({"modalities": SPECS}, ValueError, r"`modalities` must have a spec for each modality"),
    ],
)
def test_errors(change, error, message):
    options = {"modalities": VECTOR, "num_classes": C} | change
    data = batches({"vector": VALUES["vector"]})
    with pytest.raises(error, match=message):
        mix(data, options.pop("modalities"), options.pop("num_classes"), **options)


def test_errors_of_elements():
    single = batches({"vector": VALUES["vector"]}).unbatch()
    with pytest.raises(ValueError, match=r"`dataset` must give batches: call \.batch"):
        mix(single, VECTOR, C)
    data = batches({"vector": VALUES["vector"]}, {"a": NUMBERS, "b": NUMBERS})
    with pytest.raises(ValueError, match=r"must be \{head: number\}"):
        mix(data, VECTOR, C)
    with pytest.raises(ValueError, match="how many classes 'b' has"):
        mix(data, VECTOR, {"a": C})
    with pytest.raises(ValueError, match="`num_classes` must be one of"):
        mix(data, VECTOR, {"c": C})
    wide = batches({"vector": VALUES["vector"]}, np.ones((B, 3)))
    with pytest.raises(ValueError, match=r"labels of 'label' must be class numbers.*\(None, 3\)"):
        mix(wide, VECTOR, C)
    out = batches({"vector": VALUES["vector"]}, NUMBERS + 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="whole numbers in 0…7"):
        first(mix(out, VECTOR, C))


def test_accuracy_of_validation_needs_one_hot_labels():
    """Keras chooses the metric by the first labels; the others are then read wrongly."""
    model = mm.build_mcnn(VECTOR, C, width=4)
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    data = batches({"vector": VALUES["vector"]})
    model.fit(mix(data, VECTOR, C, seed=0), verbose=0)
    right = (model.predict(data, verbose=0)["label"].argmax(-1) == NUMBERS).mean()
    soft = mm.data.one_hot_labels(data, C)
    np.testing.assert_array_equal(next(iter(soft))[1], np.eye(C))
    found = model.evaluate(soft, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(right)
    plain = model.evaluate(data, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(plain["loss"], rel=1e-5)  # the loss takes both


def test_one_hot_labels_of_heads_and_weights():
    labels = {"digit": NUMBERS, "size": CODES}
    weights = {"digit": CODES, "size": CODES}
    data = batches({"vector": VALUES["vector"]}, labels, weights)
    _, soft, kept = first(mm.data.one_hot_labels(data, {"digit": C}))
    np.testing.assert_array_equal(soft["digit"], np.eye(C))
    np.testing.assert_array_equal(soft["size"], CODES)
    np.testing.assert_array_equal(kept["digit"], CODES)
    with pytest.raises(ValueError, match="how many classes 'digit' has"):
        mm.data.one_hot_labels(data, {"size": 1})
    with pytest.raises(ValueError, match="must give batches"):
        mm.data.one_hot_labels(data.unbatch(), {"digit": C})
