"""`cache_features`: the same training, faster; a stale cache is refused."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import cache_features

COUNT = 12
RNG = np.random.default_rng(0)
INPUTS = {
    "image": RNG.uniform(0, 255, (COUNT, 8, 8, 1)).astype("float32"),
    "extra": RNG.normal(size=(COUNT, 3)).astype("float32"),
}
LABELS = np.arange(COUNT) % 3


def data(inputs=INPUTS, labels=LABELS, *weights, size=5):
    return tf.data.Dataset.from_tensor_slices((inputs, labels, *weights)).batch(size)


def build(**options):
    keras.utils.set_random_seed(0)
    image = mm.Image((8, 8, 1), **{"backbone": "SmallCNN", "trainable": False} | options)
    return mm.build_mcnn({"image": image, "extra": mm.Features(3)}, 3, width=8)


def train(model, dataset, epochs=3):
    model.compile(keras.optimizers.SGD(0.05), mm.losses.classification(), jit_compile=False)
    return model.fit(dataset, epochs=epochs, shuffle=False, verbose=0).history["loss"]


def test_training_on_features_is_training_the_full_model(tmp_path):
    full, cached = build(), build()
    features, rest = cache_features(cached, data(), tmp_path / "cache")
    assert sorted(rest.input) == ["extra", "image_backbone_features"]
    assert sorted(rest.output) == ["label"]
    np.testing.assert_allclose(train(full, data()), train(rest, features), rtol=1e-4)
    for one, other in zip(full.get_weights(), cached.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        full.predict(INPUTS, verbose=0)["label"],
        rest.predict(features, verbose=0)["label"],
        rtol=1e-4,
    )
    start = build().get_layer("label_logits").get_weights()[0]
    assert (start != cached.get_layer("label_logits").get_weights()[0]).any()


def test_the_backbone_runs_once(tmp_path, monkeypatch):
    model = build()
    cache_features(model, data(), tmp_path / "cache")
    calls = []
    predict = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda self, x: calls.append(1) or predict(self, x)
    )
    features, _ = cache_features(model, data(), tmp_path / "cache")
    assert len(calls) == 1  # one batch, for the shapes
    assert features.cardinality() == 3
    assert [len(batch[1]) for batch in features] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([b[1] for b in features]), LABELS)


def test_a_new_process_finds_the_cache(tmp_path):
    """Names that Keras makes up, such as conv2d_7, are others there."""

    def own_backbone():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])

    manifests, names, predicted = [], [], []
    for _ in range(2):
        model = build(backbone=own_backbone())
        features, rest = cache_features(model, data(), tmp_path / "cache")
        manifests.append((tmp_path / "cache" / "cache.json").stat().st_mtime_ns)
        names.append(sorted(rest.input))
        assert sorted(features.element_spec[0]) == sorted(rest.input)
        predicted.append(rest.predict(features, verbose=0)["label"])
    assert manifests[0] == manifests[1]
    assert names[0] != names[1]
    np.testing.assert_allclose(predicted[0], predicted[1], rtol=1e-5)


def test_another_rest_that_needs_more_is_noticed(tmp_path):
    model = build()
    features = keras.layers.Flatten()(model.get_layer("image_features").output)
    label = keras.layers.Dense(3)(features)
    alone = keras.Model({"image": model.input["image"]}, {"label": label})
    cache_features(alone, data(), tmp_path / "cache")
    with pytest.raises(ValueError, match="was made with other inputs"):
        cache_features(model, data(), tmp_path / "cache")


def change_weights(model):
    backbone = model.get_layer("image_backbone")
    backbone.set_weights([weight + 0.1 for weight in backbone.get_weights()])
    return model, data()


STALE = {
    "weights": lambda: change_weights(build()),
    "graph": lambda: (build(preprocessing="none"), data()),
    "data": lambda: (build(), data({**INPUTS, "image": INPUTS["image"][::-1].copy()})),
    "data ": lambda: (build(), data(INPUTS, LABELS[::-1].copy())),
    "data  ": lambda: (build(), data(size=4)),
}


@pytest.mark.parametrize("what", STALE)
def test_a_stale_cache_is_refused_and_made_again_on_request(tmp_path, what):
    path = tmp_path / "cache"
    cache_features(build(), data(), path)
    model, dataset = STALE[what]()
    with pytest.raises(ValueError, match=rf"was made with other {what.strip()}.*rebuild=True"):
        cache_features(model, dataset, path)
    features, _ = cache_features(model, dataset, path, rebuild=True)
    fresh, _ = cache_features(model, dataset, tmp_path / "fresh")
    for one, other in zip(features, fresh, strict=True):
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            np.testing.assert_array_equal(a, b)
    cache_features(model, dataset, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "fresh"]


def test_training_the_rest_leaves_the_cache_good(tmp_path):
    model = build()
    features, rest = cache_features(model, data(), tmp_path / "cache")
    train(rest, features)
    cache_features(model, data(), tmp_path / "cache")


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for rebuild in (False, True):
        with pytest.raises(FileExistsError, match=r"no readable cache\.json\. Nothing"):
            cache_features(build(), data(), tmp_path, rebuild=rebuild)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_pass_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield {name: value[:5] for name, value in INPUTS.items()}, LABELS[:5]
        raise OSError("the disk is gone")

    spec = data().element_spec
    dataset = tf.data.Dataset.from_generator(broken, output_signature=spec)
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        cache_features(build(), dataset, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_data_in_another_order_each_time_are_noticed(tmp_path):
    shuffled = data().shuffle(10, seed=0)
    cache_features(build(), shuffled, tmp_path / "cache")
    with pytest.raises(ValueError, match="was made with other data"):
        cache_features(build(), shuffled, tmp_path / "cache")


def test_sample_weights_strings_and_presence_go_along(tmp_path):
    inputs = {
        "image": INPUTS["image"],
        "image_present": np.arange(COUNT)[:, None] > 3,
        "note": np.array([f"sample {n} …" for n in range(COUNT)]),
    }
    spec = mm.Image((8, 8, 1), backbone="SmallCNN", optional=True, trainable=False)
    model = mm.build_mcnn({"image": spec}, 3)
    dataset = data(inputs, LABELS, np.arange(COUNT))
    for _ in range(2):
        features, rest = cache_features(model, dataset, tmp_path / "cache")
    assert sorted(rest.input) == ["image_backbone_features", "image_present"]
    np.testing.assert_array_equal(np.concatenate([b[2] for b in features]), np.arange(COUNT))
    np.testing.assert_allclose(
        rest.predict(features, verbose=0)["label"],
        model.predict({k: inputs[k] for k in model.input}, verbose=0)["label"],
        rtol=1e-4,
    )


def test_frames_and_shared_backbones(tmp_path):
    cnn = {"backbone": "SmallCNN", "trainable": False}
    specs = {
        "left": mm.Image((8, 8, 1), **cnn),
        "right": mm.Image((8, 8, 1), **cnn),
        "video": mm.Video(4, (8, 8, 1), temporal="gru", **cnn),
    }
    model = mm.build_mcnn(specs, 3, width=8, share_backbone=[("left", "right")])
    pictures = {name: RNG.uniform(0, 255, (COUNT, 8, 8, 1)) for name in ("left", "right")}
    inputs = {**pictures, "video": RNG.uniform(0, 255, (COUNT, 4, 8, 8, 1))}
    inputs = {name: value.astype("float32") for name, value in inputs.items()}
    features, rest = cache_features(model, data(inputs), tmp_path / "cache")
    assert sorted(rest.input) == [
        "left_right_backbone_features",
        "left_right_backbone_features_2",
        "video_backbone_features",
    ]
    assert rest.input["video_backbone_features"].shape == (None, 4, 2, 2, 64)
    expected = model.predict(inputs, verbose=0)["label"]
    single = features.unbatch().batch(7)  # frames stay with their sample
    np.testing.assert_allclose(rest.predict(single, verbose=0)["label"], expected, rtol=1e-4)


def test_named_layers_and_saving(tmp_path):
    model = build(trainable=True)
    with pytest.raises(ValueError, match=r"must name frozen layers.*Frozen are: \[\]"):
        cache_features(model, data(), tmp_path / "cache")
    model.get_layer("image_backbone").trainable = False
    model.get_layer("image_projection").trainable = False
    features, rest = cache_features(model, data(), tmp_path / "cache", layers=["image_projection"])
    assert sorted(rest.input) == ["extra", "image_projection_features"]
    rest.save(tmp_path / "rest.keras")
    again = keras.models.load_model(tmp_path / "rest.keras")
    np.testing.assert_allclose(
        again.predict(features, verbose=0)["label"],
        model.predict(INPUTS, verbose=0)["label"],
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": "image_backbone"}, TypeError, "`layers` must be a sequence of names"),
        ({"layers": ["backbone"]}, ValueError, r"Frozen are: \['image_backbone'\].*\['backbone'\]"),
        ({"layers": ["label_logits"]}, ValueError, r"Received: \['label_logits'\]"),
        ({"model": keras.Sequential([keras.layers.Dense(1)])}, TypeError, "`model` must be a"),
        ({"dataset": data().repeat()}, ValueError, "`dataset` must end"),
        ({"dataset": data().unbatch()}, ValueError, "must give batches"),
        ({"dataset": data().take(0)}, ValueError, "at least one batch"),
        ({"dataset": data({"extra": INPUTS["extra"]})}, ValueError, r"without \['image'\]"),
    ],
)
def test_errors(tmp_path, change, error, message):
    options = {"model": build(), "dataset": data()} | change
    with pytest.raises(error, match=message):
        cache_features(path=tmp_path / "cache", **options)
    assert not (tmp_path / "cache").exists()


def test_the_manifest_is_plain_json(tmp_path):
    cache_features(build(), data(), tmp_path / "cache")
    manifest = json.loads(pathlib.Path(tmp_path, "cache", "cache.json").read_text())
    assert sorted(manifest) == ["data", "features", "format", "graph", "inputs", "weights"]
