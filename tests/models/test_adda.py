"""ADDA's second phase."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from tests.conformance.cases import floats


def trained(**options):
    keras.utils.set_random_seed(0)
    modalities = {"a": mm.Features(4, normalization="batch"), "b": mm.Features((2, 3))}
    model = mm.build_mcnn(modalities, 3, **{"width": 5, "hidden": (6,), **options})
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    model.fit(inputs(0), np.arange(8) % 3, epochs=2, verbose=0)
    return model


def inputs(seed):
    return {"a": floats(8, 4, seed=seed), "b": floats(8, 2, 3, seed=seed)}


PAIR = inputs(1) | {f"{key}_source": value for key, value in inputs(0).items()}


def weights(adda, name):
    return adda.get_layer(name).get_weights()


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_it_starts_as_the_source_model():
    model = trained()
    adda = mm.build_adda(model)
    assert same(weights(adda, "source_encoder"), weights(adda, "target_encoder"))
    np.testing.assert_allclose(adda(PAIR)["label"], model(inputs(1))["label"], rtol=1e-5)
    shipped = mm.inference_model(adda)
    assert sorted(shipped.input) == ["a", "b"]
    np.testing.assert_array_equal(shipped(inputs(1))["label"], adda(PAIR)["label"])


def test_training_moves_the_target_encoder_and_the_discriminator_alone():
    model = trained()
    model_before = model.get_weights()
    adda = mm.build_adda(model, rate=0.5)
    names = ("source_encoder", "target_encoder", "classifier", "alignment")
    before = {name: weights(adda, name) for name in names}
    adda.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    adda.fit(PAIR, epochs=2, verbose=0)
    moved = {name: not same(before[name], weights(adda, name)) for name in names}
    assert moved == {
        "source_encoder": False,
        "target_encoder": True,
        "classifier": False,
        "alignment": True,
    }
    assert same(model_before, model.get_weights())


def test_a_rate_of_0_leaves_the_weights_of_the_target_encoder():
    adda = mm.build_adda(trained(), rate=0.0)
    before = [w.numpy() for w in adda.get_layer("target_encoder").trainable_weights]
    adda.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    adda.fit(PAIR, verbose=0)
    assert same(before, [w.numpy() for w in adda.get_layer("target_encoder").trainable_weights])


def test_the_target_encoder_learns_to_imitate_the_source():
    """The target is the source, moved: the encoder can move it back."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    xs = (rng.normal(size=(400, 4)) * 0.4 + (2.0 * y - 1.0)[:, None] * [1, 1, 0, 0]).astype("f4")
    xt = xs + np.array([0, 2.5, 0, 0], "float32")
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn({"a": mm.Features(4, activation="tanh")}, 2, width=8)
    model.compile(keras.optimizers.Adam(0.02), mm.losses.classification(), jit_compile=False)
    model.fit({"a": xs}, y, epochs=10, verbose=0)

    def accuracy(m):
        return (np.asarray(m({"a": xt})["label"]).argmax(axis=1) == y).mean()

    assert accuracy(model) < 0.75
    keras.utils.set_random_seed(0)
    adda = mm.build_adda(model, hidden=(16,), rate=0.3)
    adda.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    source, target = (
        tf.data.Dataset.from_tensor_slices({"a": x}).shuffle(400, seed=s)
        for s, x in enumerate((xs, xt))
    )
    adda.fit(mm.data.domain_pairs(source, target, 50), epochs=25, verbose=0)
    assert accuracy(mm.inference_model(adda)) > 0.9


def test_features_may_be_those_of_any_layer(tmp_path):
    model = trained()
    adda = mm.build_adda(model, features="fusion", hidden=())
    assert adda.get_layer("target_encoder").output.shape == (None, 10)
    np.testing.assert_allclose(adda(PAIR)["label"], model(inputs(1))["label"], rtol=1e-5)
    adda.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(PAIR)["label"], adda(PAIR)["label"], rtol=1e-5)


def test_branches_that_only_training_needs_are_left_out():
    model = trained()
    other = mm.build_mcnn(
        {"a": mm.Features(4), "b": mm.Features((2, 3))}, 3, width=5, auxiliary_heads=True
    )
    assert sorted(mm.build_adda(other).output) == ["label"]
    afe = mm.build_afe({"a": mm.Features(4)}, 3, width=5)
    assert sorted(mm.build_adda(afe).input) == ["a", "a_source"]
    assert model.name == "mcnn"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mm.build_adda(3), TypeError, "`model` must be a functional keras.Model"),
        (lambda: mm.build_adda(trained(), features="x"), ValueError, "`features` must be one of"),
        (
            lambda: mm.build_adda(trained(), features="hidden"),
            ValueError,
            r"`features` must be one of .*Did you mean 'hidden_1'",
        ),
        (
            lambda: mm.build_adda(trained(), features="a_features"),
            ValueError,
            r"`features` must name a layer with one output of shape \(B, D\)",
        ),
        (
            lambda: mm.build_adda(mm.build_dml({"a": mm.Features(2), "b": mm.Features(2)}, 2)),
            ValueError,
            "`features` must be the name of a layer",
        ),
        (lambda: mm.build_adda(trained(), rate=-1), ValueError, "`rate` must be at least 0"),
        (lambda: mm.build_adda(trained(), hidden=1), TypeError, "`hidden` must be a sequence"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
