"""Every builder and fusion trains in half precision, and in float16 the loss is scaled."""

import dataclasses

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras._graphs import dtype_policy
from mm_keras.losses import classification
from tests.conformance import builder_cases
from tests.conformance.cases import LABELS, MIXTURE, VECTORS, VECTORS_BATCH, floats

CASES = {case.name: case for case in builder_cases()}
# One of each builder, with what is particular to it in training; samples lack modalities.
CASES["build_afe-dann"] = dataclasses.replace(
    CASES["build_afe-mmd"], build=lambda: mm.build_afe(VECTORS, 3, width=8), options={}
)
LIGHT = ["build_mcnn-training", "build_mcnn-modulation", "build_dfn", "build_nasn"]
LIGHT += ["build_dml-shared", "build_afe-dann", "build_afe-each", "build_afe-mmd", "build_adda"]
COMPILED = ["build_cmn-training", "build_mvcnn"]
POLICIES = ["mixed_float16", "mixed_bfloat16"]
STEPS = 8


def loss_of(case):
    return case.options.get("loss") or {key: classification() for key in case.labels}


def train(case, policy):
    keras.utils.set_random_seed(0)
    with dtype_policy(policy):
        model = case.build()
    eagerly = case.name not in COMPILED  # a few steps take less than tracing them
    model.compile(
        keras.optimizers.Adam(0.01), loss_of(case), jit_compile=False, run_eagerly=eagerly
    )
    before = [weight.numpy() for weight in model.trainable_weights]
    history = model.fit(dict(case.batch), dict(case.labels), epochs=STEPS, verbose=0)
    return model, before, history.history["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", [*LIGHT, *COMPILED])
def test_builders_train(name, policy):
    case = CASES[name]
    model, before, losses = train(case, policy)
    assert np.isfinite(losses).all()
    # Two sides of a game raise each other's loss; the others learn their three samples.
    assert (
        name.startswith(("build_adda", "build_afe-dann", "build_afe-each"))
        or losses[-1] < losses[0]
    )
    for weight in model.weights:
        assert np.isfinite(weight.numpy()).all(), weight.path
        assert weight.dtype in ("float32", "uint32", "int32", "bool"), weight.path
    after = [weight.numpy() for weight in model.trainable_weights]
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    if scaled:  # from 2 ** 15, halved by each step that overflows
        taken = int(model.optimizer.inner_optimizer.iterations)
        assert float(model.optimizer.dynamic_scale) == 2.0 ** (15 - (STEPS - taken))
        assert taken >= STEPS // 2
    half = "bfloat16" if policy == "mixed_bfloat16" else "float16"
    assert any(layer.compute_dtype == half for layer in model.layers)
    outputs = model(case.batch, training=False)
    kinds = {key: keras.backend.standardize_dtype(y.dtype) for key, y in outputs.items()}
    assert set(kinds.values()) <= {"float32", "bool"}, kinds


@pytest.mark.parametrize("name", LIGHT)
def test_the_scale_of_the_loss_changes_nothing_but_the_range(name):
    """In float32, where nothing overflows, a step with the loss scaled is the step without."""
    case = CASES[name]
    found = []
    for scaled in (False, True):
        keras.utils.set_random_seed(0)
        model = case.build()
        optimizer = keras.optimizers.SGD(0.1)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**12)
        model.compile(optimizer, loss_of(case), jit_compile=False, run_eagerly=True)
        model.train_on_batch(dict(case.batch), dict(case.labels))
        found.append({weight.path: weight.numpy() for weight in model.trainable_weights})
    plain, scaled = ([value for _, value in sorted(one.items())] for one in found)
    for path, one, other in zip(sorted(found[0]), plain, scaled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=path)


@pytest.fixture(scope="module")
def mixed():
    """A model under mixed_float16 that has taken a step; the policy of the process is float32."""
    with dtype_policy("mixed_float16"):
        model = mm.build_mcnn(VECTORS, 3, width=8, hidden=(4,))
    model.compile(keras.optimizers.SGD(0.1), classification(), jit_compile=False)
    model.train_on_batch(VECTORS_BATCH, LABELS)
    return model


def test_a_batch_that_overflows_is_skipped_and_halves_the_scale(mixed):
    optimizer = mixed.optimizer
    before, scale = mixed.get_weights(), float(optimizer.dynamic_scale)
    taken = int(optimizer.inner_optimizer.iterations)
    huge = {**VECTORS_BATCH, "left": np.full((3, 2, 6), 6e4, "float32")}
    mixed.train_on_batch(huge, LABELS)
    for old, new in zip(before, mixed.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert float(optimizer.dynamic_scale) == scale / 2
    assert int(optimizer.inner_optimizer.iterations) == taken
    mixed.train_on_batch(VECTORS_BATCH, LABELS)  # and it goes on
    assert float(optimizer.dynamic_scale) == scale / 2
    assert int(optimizer.inner_optimizer.iterations) == taken + 1


def test_loaded_and_shipped_models_keep_their_policy(mixed, tmp_path):
    mixed.save(tmp_path / "model.keras")
    loaded = mm.load(tmp_path / "model.keras")
    shipped = mm.inference_model(mixed)
    assert keras.config.dtype_policy().name == "float32"
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    states = ([v.numpy() for v in model.optimizer.variables] for model in (mixed, loaded))
    for old, new in zip(*states, strict=True):
        np.testing.assert_array_equal(old, new)
    for model in (loaded, shipped, mm.inference_model(loaded)):
        assert model.dtype_policy.name == "mixed_float16"
        for layer in model.layers:
            if not isinstance(layer, keras.layers.InputLayer):  # an input computes nothing
                assert layer.dtype_policy == mixed.get_layer(layer.name).dtype_policy, layer.name
        model.compile("sgd", classification())
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        np.testing.assert_array_equal(
            model.predict(VECTORS_BATCH, verbose=0)["label"],
            mixed.predict(VECTORS_BATCH, verbose=0)["label"],
        )
    with dtype_policy("mixed_float16"):  # of the process: it says nothing about another model
        plain = mm.inference_model(_float32_model())
    assert plain.layers[-1].compute_dtype == "float32"


def _float32_model():
    with dtype_policy("float32"):
        return mm.build_mcnn({"a": mm.Features(3)}, 2, width=4)


def test_heads_compute_in_float32():
    """Two scores that differ by less than float16 can tell stay apart."""
    with dtype_policy("mixed_float16"):
        model = mm.build_mcnn({"a": mm.Features(1)}, mm.Regression(2), width=1)
    head = model.get_layer("label_logits")
    head.set_weights([np.array([[0.0, 0.0]]), np.array([1000.0, 1000.2])])
    found = model.predict({"a": np.zeros((1, 1))}, verbose=0)["label"]
    np.testing.assert_allclose(found, [[1e3, 1000.2]])


@pytest.mark.parametrize("name", mm.layers.FUSIONS)
def test_fusions_of_large_features_stay_finite(name):
    """Features of several hundred; c is wholly absent, and one sample has nothing at all."""
    cls, options = mm.layers.FUSIONS[name]
    fusion = cls(dtype="mixed_float16", **options)
    features = {key: 400 * floats(4, 3, 16, seed=seed) for seed, key in enumerate("abc")}
    present = np.array([[True], [True], [True], [False]])
    mask = {"a": present, "b": present[[0, 3, 1, 3]], "c": np.zeros((4, 1), "bool")}
    inputs = {key: keras.Input((3, 16), name=key) for key in features}
    masks = {key: keras.Input((1,), dtype="bool", name=f"{key}_present") for key in mask}
    fused = fusion(inputs, mask=masks)
    outputs = keras.layers.Dense(2, kernel_initializer="ones", dtype="float32")(fused)
    model = keras.Model({**inputs, **{f"{key}_present": m for key, m in masks.items()}}, outputs)
    with dtype_policy("mixed_float16"):
        wrapped = keras.Model(model.input, model.output)
    wrapped.compile(keras.optimizers.SGD(1e-12), "mae", jit_compile=False, run_eagerly=True)
    batch = {**features, **{f"{key}_present": m for key, m in mask.items()}}
    assert isinstance(wrapped.optimizer, keras.optimizers.LossScaleOptimizer)
    wrapped.optimizer.initial_scale = 128.0
    loss = wrapped.train_on_batch(batch, np.zeros((4, 2), "float32"))
    assert np.isfinite(loss)
    assert int(wrapped.optimizer.inner_optimizer.iterations) == 1  # the gradient was finite too
    whole = cls(**options)
    whole(features, mask=mask)
    whole.set_weights(fusion.get_weights())
    expected = keras.ops.convert_to_numpy(whole(features, mask=mask))
    found = keras.ops.convert_to_numpy(fusion(features, mask=mask)).astype("float32")
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.abs(expected).max())


@pytest.mark.slow
def test_exports_hold_what_they_can_and_say_what_they_cannot(mixed, tmp_path):
    path = mm.export(mixed, tmp_path / "served", format="saved_model")  # compared with the model
    served = mm.load(path).predict(VECTORS_BATCH)["label"]
    np.testing.assert_allclose(served, mixed.predict(VECTORS_BATCH, verbose=0)["label"], atol=1e-3)
    for format, file in (("litert", "m.tflite"), ("onnx", "m.onnx")):
        with pytest.raises(ValueError, match="must compute in float32 for format='" + format):
            mm.export(mixed, tmp_path / file, format=format)
        assert not (tmp_path / file).exists()
    whole = mm.build_mcnn(VECTORS, 3, width=8, hidden=(4,))  # as the message says
    whole.set_weights(mixed.get_weights())
    mm.export(whole, tmp_path / "m.tflite", format="litert", check=False)
    lite = mm.load(tmp_path / "m.tflite").predict(VECTORS_BATCH)["label"]
    np.testing.assert_allclose(lite, served, atol=0.02)


def test_groups_of_weights_share_one_scale():
    """A rate for each modality, within the optimizer that scales."""
    with dtype_policy("mixed_float16"):
        model = mm.build_mcnn(VECTORS, 3, width=8)
    model.compile(keras.optimizers.SGD(0.1), classification(), jit_compile=False)
    kept, moved = (model.get_layer(f"{key}_projection").get_weights() for key in VECTORS)
    rates = mm.training.ModalityRates({"left": 0.0})
    model.fit(VECTORS_BATCH, LABELS, verbose=0, callbacks=[rates])
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer.inner_optimizer, mm.training.GroupedOptimizer)
    after = [model.get_layer(f"{key}_projection").get_weights() for key in VECTORS]
    np.testing.assert_array_equal(kept[0], after[0][0])
    assert np.any(moved[0] != after[1][0])


def test_sound_and_pixels_are_prepared_in_float32():
    with dtype_policy("mixed_float16"):
        model = mm.build_mcnn(MIXTURE, 3, width=8)
    for name in ("audio_spectrogram", "image_preprocessing", "label_logits", "label"):
        assert model.get_layer(name).compute_dtype == "float32", name
    assert model.get_layer("image_projection").compute_dtype == "float16"
