"""`mm.compress.quantize_aware`: what is trained with rounding, what is not, what is preserved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress import flatbuffer

INT8 = flatbuffer.schema.TensorType.INT8


def picture_model():
    """Two convolutions with normalization, and layers that TFMOT refuses, each for its reason."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    picture = keras.Input((8, 8, 4), name="picture")
    words = keras.Input((3,), dtype="int32", name="words")
    x = layers.BatchNormalization(name="before")(picture)
    x = layers.Conv2D(16, 3, use_bias=False, name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="after")(x))
    x = layers.Conv2D(16, 3, activation="relu", name="last_conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    y = layers.Embedding(20, 16, name="embedding")(words)
    y = layers.LayerNormalization(name="norm")(layers.Flatten(name="flat")(y))
    y = layers.Dense(16, activation="gelu", name="gelu")(y)
    shared = layers.Dense(16, activation="relu", name="shared")
    joined = layers.Concatenate(name="joined")([shared(x), shared(y)])
    joined = layers.Multiply(name="times")([joined, joined])
    label = layers.Dense(3, activation="softmax", name="label")(joined)
    model = keras.Model({"picture": picture, "words": words}, {"label": label})
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    return model


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "picture": rng.integers(0, 256, (32, 8, 8, 4)).astype("float32"),
        "words": rng.integers(0, 20, (32, 3)).astype("int32"),
    }


@pytest.fixture(scope="module")
def train(inputs):
    labels = np.arange(32) % 3
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16)


@pytest.fixture(scope="module")
def model(train):
    """Fitted, so that normalizations know their data."""
    model = picture_model()
    model.fit(train, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def aware(model, train):
    still = {"optimizer": keras.optimizers.SGD(0.0)}
    return mm.compress.quantize_aware(model, train, compile=still, verbose=0, uint8=["picture"])


def test_what_is_trained_and_why_the_rest_is_not(aware):
    assert {"conv", "after", "relu", "last_conv", "pool", "joined", "label"} <= set(aware.trained)
    assert aware.not_trained == {
        "before": "TFMOT takes a normalization only right after a convolution or dense layer",
        "embedding": "TFMOT has no quantization-aware form of it",
        "norm": "TFMOT has no quantization-aware form of it",
        "gelu": "TFMOT has no quantization-aware form of its activation, gelu",
        "shared": "it is called more than once",
        "times": "TFMOT has no quantization-aware form of it",
    }


def test_without_a_step_it_answers_as_the_model_does(aware, model, inputs):
    """At a learning rate of 0 only the rounding is left; refused layers are rounded, too."""
    expected = model.predict(inputs, verbose=0)["label"]
    assert np.ptp(expected, axis=0).max() > 0.2, "answers that differ"
    np.testing.assert_allclose(aware.predict(inputs)["label"], expected, atol=0.1)
    assert aware.inputs["picture"].dtype == "uint8"


def test_kernels_of_trained_and_refused_layers_are_int8(aware):
    operators = flatbuffer.operators(flatbuffer.read(aware.content))
    kernels = [o for o in operators if o.kind in ("CONV_2D", "FULLY_CONNECTED")]
    assert len(kernels) == 6
    assert {o.tensor.type for o in kernels} == {INT8}
    additions = [o for o in operators if o.kind == "ADD" and o.tensor.type == INT8]
    assert len(additions) == 2, "of `before` and `norm`; `after` is folded into its kernel"


def test_small_probabilities_survive(aware, inputs):
    """TFMOT's rounding of the logits would go on through the softmax."""
    reasons = {entry.kind: entry.reason for entry in aware.stayed_float}
    assert reasons["SOFTMAX"] == "steps of 1/256 would make 0 of small probabilities"
    found = aware.predict(inputs)["label"]
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    assert np.abs(256 * found - np.round(256 * found)).max() > 0.1


@pytest.mark.slow
def test_named_layers_stay_float_and_a_temperature_does(train):
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 4), name="picture")
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(picture)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    label = keras.layers.Dense(3, activation="softmax", name="label")(x)
    label = mm.layers.TemperatureScaling(2.0, name="milder")(label)
    model = keras.Model({"picture": picture}, {"label": label})
    model.compile(keras.optimizers.SGD(0.0), mm.losses.classification(), jit_compile=False)
    data = train.map(lambda inputs, labels: ({"picture": inputs["picture"] / 255}, labels))
    small = mm.compress.quantize_aware(model, data, verbose=0, keep_float=["hidden"])
    assert small.not_trained["hidden"] == "named in keep_float"
    assert {"conv", "label"} <= set(small.trained)
    operators = flatbuffer.operators(flatbuffer.read(small.content))
    dense = [o.tensor.type for o in operators if o.kind == "FULLY_CONNECTED"]
    assert dense == [flatbuffer.FLOAT, INT8]
    last = [o.tensor.type for o in operators if o.kind in ("SOFTMAX", "MAXIMUM", "LOG", "MUL")]
    assert last == 5 * [flatbuffer.FLOAT]
    reasons = {entry.kind: entry.reason for entry in small.stayed_float}
    assert reasons["FULLY_CONNECTED"] == "named in keep_float"
    given = {"picture": next(iter(data))[0]["picture"].numpy()}
    found = small.predict(given)["label"]
    np.testing.assert_allclose(found, model.predict(given, verbose=0)["label"], atol=0.03)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.slow
def test_the_model_stays_as_it_is_and_training_changes_the_result(model, aware, train):
    before = model.get_weights()
    fast = {"optimizer": keras.optimizers.SGD(0.05)}
    moved = mm.compress.quantize_aware(model, train, compile=fast, verbose=0, uint8=["picture"])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert moved.content != aware.content


@pytest.fixture(scope="module")
def clustered(model, train):
    """Pruned, then clustered."""
    pruned = mm.compress.prune(model, train, 0.75, verbose=0)
    return mm.compress.cluster(pruned, train, 8, verbose=0)


def kernels(small):
    return [w for w in flatbuffer.weights_of(flatbuffer.read(small.content)) if w.size > 100]


@pytest.mark.parametrize("method", ["after training", "aware"])
@pytest.mark.slow
def test_zeros_and_few_values_stay(clustered, train, method):
    if method == "aware":
        small = mm.compress.quantize_aware(clustered, train, verbose=0)
    else:
        small = mm.compress.quantize(clustered, representative=train)
    for kernel in kernels(small):
        assert np.mean(kernel == 0) >= 0.74
    (conv,) = (k for k in kernels(small) if k.size == 3 * 3 * 16 * 16)
    per_channel = [len(np.unique(channel)) for channel in conv.reshape(16, -1)]
    assert max(per_channel) <= 8, "LiteRT keeps a row for each output channel"


@pytest.mark.slow
def test_without_the_preserving_schemes_they_are_lost(clustered, train):
    fast = {"optimizer": keras.optimizers.Adam(0.01)}
    small = mm.compress.quantize_aware(
        clustered,
        train,
        compile=fast,
        preserve_sparsity=False,
        preserve_clusters=False,
        verbose=0,
    )
    assert np.mean([np.mean(kernel == 0) for kernel in kernels(small)]) < 0.7


@pytest.mark.slow
def test_zeros_stay_before_a_relu_of_its_own_in_a_model_that_tfmot_takes_whole(train):
    """TFMOT's layout would give the first convolution a quantizer that preserves nothing."""
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 4), name="picture")
    x = keras.layers.Conv2D(16, 1, name="conv")(picture)
    x = keras.layers.Activation("relu", name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    label = keras.layers.Dense(3, activation="softmax", name="label")(x)
    model = keras.Model({"picture": picture}, {"label": label})
    model.compile(keras.optimizers.Adam(0.01), mm.losses.classification(), jit_compile=False)
    data = train.map(lambda inputs, labels: ({"picture": inputs["picture"]}, labels))
    whole = mm.compress.quantize_aware(model, data, verbose=0)
    assert whole.not_trained == {}
    assert [(entry.kind, entry.name) for entry in whole.stayed_float] == [("SOFTMAX", "label")]
    rounded = mm.compress.quantize_aware(model, data, verbose=0, keep_float=())
    assert rounded.stayed_float == ()
    pruned = mm.compress.prune(model, data, 0.75, verbose=0)
    small = mm.compress.quantize_aware(pruned, data, verbose=0)
    assert list(small.not_trained) == ["conv"]
    for kernel in flatbuffer.weights_of(flatbuffer.read(small.content)):
        assert np.mean(kernel == 0) >= 0.72


@pytest.mark.slow
def test_zeros_are_counted_without_depthwise_kernels_which_have_none(train):
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 4), name="picture")
    x = keras.layers.Conv2D(16, 1, name="conv")(picture)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)  # more weights than all others
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    label = keras.layers.Dense(3, activation="softmax", name="label")(x)
    model = keras.Model({"picture": picture}, {"label": label})
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    data = train.map(lambda inputs, labels: ({"picture": inputs["picture"]}, labels))
    pruned = mm.compress.prune(model, data, 0.75, verbose=0)
    small = mm.compress.quantize_aware(pruned, data, verbose=0)
    dense, conv, _ = sorted(flatbuffer.weights_of(flatbuffer.read(small.content)), key=np.size)
    assert np.mean(conv == 0) >= 0.75
    assert np.mean(dense == 0) >= 0.72


@pytest.mark.slow
def test_inputs_that_only_training_needs_are_not_in_the_file():
    model = mm.build_cmn(
        {"a": mm.Features(8), "b": mm.Features(6)},
        2,
        width=8,
        contrastive="info_nce",
        pair_ids=True,
    )
    assert "pair_id" in model.input
    loss = mm.losses.classification()
    model.compile("sgd", {"label": loss}, jit_compile=False)
    rng = np.random.default_rng(0)
    given = {
        "a": rng.normal(size=(16, 8)).astype("float32"),
        "b": rng.normal(size=(16, 6)).astype("float32"),
        "pair_id": np.arange(16).reshape(-1, 1),
    }
    labels = {"label": np.arange(16) % 2}
    train = tf.data.Dataset.from_tensor_slices((given, labels)).batch(8)
    small = mm.compress.quantize_aware(model, train, verbose=0)
    shipped = mm.inference_model(model)
    assert sorted(small.inputs) == sorted(shipped.input) == ["a", "b"]
    assert sorted(small.outputs) == sorted(shipped.output)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
        ({"preserve_sparsity": 1}, TypeError, "`preserve_sparsity` must be a bool"),
        ({"compile": {"los": "mse"}}, ValueError, "`compile` must be one of"),
        ({"keep_float": ["pol"]}, ValueError, r"Did you mean 'pool'\?"),
        ({"uint8": ["words!"]}, ValueError, "`uint8` must be one of"),
        ({"representative": [1]}, TypeError, "`representative` must be a tf.data.Dataset"),
    ],
)
def test_bad_arguments(model, train, options, error, message, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)  # before any training
    with pytest.raises(error, match=message):
        mm.compress.quantize_aware(model, train, **options)


def test_models_that_cannot_be_trained(train):
    compiled = picture_model()
    plain = keras.Model(compiled.input, compiled.output)
    with pytest.raises(ValueError, match="`compile` must hold optimizer and loss"):
        mm.compress.quantize_aware(plain, train)
    words = keras.Input((3,), dtype="int32", name="words")
    vectors = keras.layers.Flatten()(keras.layers.Embedding(20, 1, name="embedding")(words))
    model = keras.Model({"words": words}, {"label": vectors})
    model.compile("sgd", "mse")
    data = train.map(lambda inputs, labels: ({"words": inputs["words"]}, tf.ones((16, 3))))
    with pytest.raises(ValueError, match="`model` must have a layer that TFMOT can train"):
        mm.compress.quantize_aware(model, data)
