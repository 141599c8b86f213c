"""Rates for each modality and gradual unfreezing: what compiled training really does."""

import itertools
import warnings

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.training import GradualUnfreezing, GroupedOptimizer, ModalityRates
from tests.conformance.cases import floats

X = {"a": floats(24, 5), "b": floats(24, 4, seed=1)}
Y = {"label": np.arange(24) % 3}
FIT = {"batch_size": 8, "verbose": 0, "shuffle": False}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=0.5),
    "schedule": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    ),
}


def built(optimizer=None, seed=0, jit_compile=False, **options):
    keras.utils.set_random_seed(seed)
    model = mm.build_mcnn({"a": mm.Features(5), "b": mm.Features(4)}, 3, width=6, **options)
    compile_(model, optimizer or keras.optimizers.Adam(0.01), jit_compile)
    return model


def compile_(model, optimizer, jit_compile=False):
    loss = {name: mm.losses.classification() for name in model.output}
    model.compile(optimizer, loss, jit_compile=jit_compile)


def fit(model, *callbacks, epochs=2, initial_epoch=0, y=Y):
    return model.fit(
        X, y, epochs=epochs, initial_epoch=initial_epoch, callbacks=list(callbacks), **FIT
    )


def weights(model, layer):
    return [weight.numpy().copy() for weight in model.get_layer(layer).weights]


def changed(before, after):
    return any(np.any(x != y) for x, y in zip(before, after, strict=True))


def assert_same(first, second, **tolerance):
    for x, y in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-4, "atol": 1e-6, **tolerance})


@pytest.mark.parametrize("kind", ["adamw", "schedule"])
def test_equal_rates_are_the_optimizer_itself(kind):
    plain, grouped = built(OPTIMIZERS[kind]()), built(OPTIMIZERS[kind]())
    fit(plain)
    fit(grouped, ModalityRates({"a": 1.0, "b": 1.0}))
    assert_same(plain, grouped)
    assert int(grouped.optimizer.iterations) == 6


def test_a_rate_is_a_learning_rate():
    """The first step of SGD and of Adam is proportional to it; weight decay follows it too."""
    for make in (OPTIMIZERS["sgd"], OPTIMIZERS["adamw"]):
        steps = {}
        for rate in (1.0, 0.25, 0.0):
            model = built(make())
            before = weights(model, "a_projection")
            other = weights(model, "label_logits")
            model.fit(X, Y, batch_size=24, verbose=0, callbacks=[ModalityRates({"a": rate})])
            after = weights(model, "a_projection")
            steps[rate] = [y - x for x, y in zip(before, after, strict=True)]
            assert changed(other, weights(model, "label_logits"))
        assert any(step.any() for step in steps[1.0])
        for whole, part, none in zip(steps[1.0], steps[0.25], steps[0.0], strict=True):
            np.testing.assert_allclose(part, 0.25 * whole, rtol=1e-3, atol=1e-7)
            assert not none.any()


def test_the_later_name_holds_and_rates_can_change():
    model = built(hidden=[5])
    fit(model, ModalityRates({"*_projection": 0.5, "a": 0.1}))
    optimizer = model.optimizer
    assert sorted(optimizer.rates) == [0.1, 0.5, 1.0]
    fit(model, ModalityRates({"a": 0.2, "b": 0.5}))
    assert model.optimizer is optimizer  # the moments stay
    assert sorted(optimizer.rates) == [0.2, 0.5, 1.0]
    assert int(optimizer.iterations) == 12
    before = weights(model, "a_projection")
    fit(model, ModalityRates({"a": 0.0, "b": 0.5}))
    assert not changed(before, weights(model, "a_projection"))
    with pytest.raises(ValueError, match="`optimizer` must not have taken a step yet"):
        fit(model, GradualUnfreezing({"hidden_1": 3}))


def test_callbacks_on_the_common_rate_act_on_all_groups():
    model = built(keras.optimizers.SGD(0.1))
    stop = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch == 0 else 0.0)
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.get_weights())
    )
    fit(model, ModalityRates({"a": 0.5}), stop, note)
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)
    assert [float(one.learning_rate) for one in model.optimizer.members] == [0.0, 0.0]


def test_saved_in_training_and_loaded_it_goes_on_alike(tmp_path):
    model, rates = built(), ModalityRates({"a": 0.1})
    fit(model, rates)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Skipping variable loading")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, GroupedOptimizer)
    assert loaded.optimizer.rates == model.optimizer.rates
    assert loaded.optimizer.groups == model.optimizer.groups
    # Two groups of two moments for each weight, a count of steps for each and all, the rate.
    assert len(model.optimizer.variables) == 2 * len(model.trainable_weights) + 4
    for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    fit(model, epochs=3, initial_epoch=2)
    fit(loaded, epochs=3, initial_epoch=2)
    assert_same(model, loaded)


def test_frozen_layers_keep_their_weights_until_their_epoch():
    model = built(hidden=[5])
    seen = {name: [weights(model, name)] for name in ("a_projection", "b_projection", "hidden_1")}

    def note(epoch, logs):
        for name, found in seen.items():
            found.append(weights(model, name))

    fit(
        model,
        GradualUnfreezing({"a": 1, "b": 3}),
        keras.callbacks.LambdaCallback(on_epoch_end=note),
        epochs=4,
    )
    moved = {
        name: [changed(x, y) for x, y in itertools.pairwise(found)] for name, found in seen.items()
    }
    assert moved == {
        "a_projection": [False, True, True, True],
        "b_projection": [False, False, False, True],
        "hidden_1": [True] * 4,
    }
    assert all(weight.trainable for weight in model.get_layer("b_projection").trainable_weights)


def test_what_is_unfrozen_starts_as_in_a_new_optimizer():
    """The first step of Adam after unfreezing has the size of the rate, not several times it."""
    model, sizes = built(keras.optimizers.Adam(0.01)), []
    before = {}

    def begin(batch, logs=None):
        before["a"] = weights(model, "a_projection")

    def end(batch, logs=None):
        step = weights(model, "a_projection")[0] - before["a"][0]
        sizes.append(float(np.abs(step).max()))

    note = keras.callbacks.LambdaCallback(on_train_batch_begin=begin, on_train_batch_end=end)
    fit(model, GradualUnfreezing({"a": 5}), note, epochs=6)
    assert sizes[:15] == [0.0] * 15
    assert sizes[15] == pytest.approx(0.01, rel=0.01)


def test_backbones_keep_their_statistics_while_frozen():
    keras.utils.set_random_seed(0)
    image = mm.Image((8, 8, 1), backbone="SmallCNN", trainable=False)
    model = mm.build_mcnn({"image": image, "b": mm.Features(4)}, 3, width=6)
    compile_(model, "adam")
    x = {"image": 255 * np.random.default_rng(0).uniform(size=(24, 8, 8, 1)), "b": X["b"]}
    seen = [weights(model, "image_backbone")]
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(weights(model, "image_backbone"))
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="A layer's `trainable` state has changed")
        model.fit(
            x,
            Y,
            epochs=2,
            validation_data=(x, Y),
            callbacks=[GradualUnfreezing({"image_backbone": 1}), note],
            **FIT,
        )
    assert not changed(seen[0], seen[1])
    names = [weight.path for weight in model.get_layer("image_backbone").weights]
    moved = {
        name.split("/")[-1]
        for name, x, y in zip(names, seen[1], seen[2], strict=True)
        if np.any(x != y)
    }
    assert moved == {"kernel", "gamma", "beta", "moving_mean", "moving_variance"}


@pytest.mark.slow
def test_both_together_with_xla_and_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built(keras.optimizers.Adam(0.01), jit_compile=True)
    finally:
        keras.config.set_dtype_policy(policy)
    before = {name: weights(model, f"{name}_projection") for name in ("a", "b")}
    callbacks = ModalityRates({"b": 0.0}), GradualUnfreezing({"a": 1})
    fit(model, *callbacks, epochs=1)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not changed(before["a"], weights(model, "a_projection"))
    fit(model, *callbacks, epochs=2, initial_epoch=1)
    assert changed(before["a"], weights(model, "a_projection"))
    assert not changed(before["b"], weights(model, "b_projection"))


def test_freeze_and_unfreeze():
    model = built()
    assert mm.training.freeze(model, "a", "label_logits") == ["a_projection", "label_logits"]
    compile_(model, keras.optimizers.SGD(0.1))
    before = weights(model, "a_projection")
    fit(model, epochs=1)
    assert not changed(before, weights(model, "a_projection"))
    assert mm.training.unfreeze(model, "*_projection") == ["a_projection", "b_projection"]
    compile_(model, keras.optimizers.SGD(0.1))
    fit(model, epochs=1)
    assert changed(before, weights(model, "a_projection"))
    with pytest.raises(ValueError, match="`names` must be one name or more"):
        mm.training.freeze(model)


def test_layers_of_modalities():
    def names(model, name):
        return [layer.name for layer in mm.training.layers_of(model, name)]

    optional = mm.Features(4, optional=True)
    model = mm.build_mcnn(
        {"a": mm.Features(5), "a_2": optional, "c": optional},
        3,
        width=6,
        fusion="gated",
        auxiliary_heads=True,
        modality_dropout=0.2,
    )
    assert names(model, "a") == ["a_projection"]  # not the auxiliary head, nor those of a_2
    assert names(model, "a_2") == ["a_2_projection"]
    assert "a_label_head_logits" in names(model, "a_*")
    students = mm.build_dml({"a": mm.Features(5), "b": mm.Features(4)}, 3)
    assert all(name.startswith(("a_", "a/")) for name in names(students, "a"))
    assert any("logits" in name for name in names(students, "a"))  # a student is its modality's
    one = keras.Input((3,), name="one")
    two = keras.Input((3,), name="two")
    dense, twice = keras.layers.Dense(3, name="dense"), keras.layers.Dense(3, name="twice")
    joined = keras.layers.Add()([twice(twice(dense(one))), two])
    handmade = keras.Model([one, two], keras.layers.Dense(2, name="head")(joined))
    assert sorted(names(handmade, "one")) == ["dense", "twice"]
    alone = mm.build_mcnn({"a": mm.Features(5)}, 3)
    assert names(alone, "a") == ["a_projection", "label_logits"]
    with pytest.raises(ValueError, match="name='two', which has an encoder without weights"):
        mm.training.layers_of(handmade, "two")
    shared = mm.build_mcnn({"l": mm.Features(5), "r": mm.Features(5)}, 3, share_encoder=True)
    with pytest.raises(ValueError, match="or shares it with another"):
        mm.training.layers_of(shared, "l")
    with pytest.raises(ValueError, match=r"Did you mean 'dense'.*name='dens'"):
        mm.training.layers_of(handmade, "dens")
    with pytest.raises(ValueError, match="Received: name='a_features', which has none"):
        mm.training.layers_of(model, "a_features")
    with pytest.raises(TypeError, match="`name` must be that of"):
        mm.training.layers_of(model, 3)
    with pytest.raises(TypeError, match="`model` must be a functional"):
        mm.training.layers_of("model", "a")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ModalityRates([0.1]), TypeError, "`rates` must be"),
        (lambda: ModalityRates({}), ValueError, "`rates` must have at least one name"),
        (lambda: ModalityRates({"a": -1}), ValueError, r"`rates\['a'\]` must be at least 0"),
        (lambda: GradualUnfreezing(3), TypeError, "`until` must be"),
        (lambda: GradualUnfreezing({}), ValueError, "`until` must have at least one name"),
        (lambda: GradualUnfreezing({"a": 0.5}), TypeError, r"`until\['a'\]` must be an integer"),
        (lambda: GroupedOptimizer("adam", [0]), ValueError, "`optimizer` must be a Keras optim"),
        (
            lambda: GroupedOptimizer(keras.optimizers.SGD(global_clipnorm=1.0), [0]),
            ValueError,
            "must not clip by the norm of all gradients",
        ),
        (
            lambda: GroupedOptimizer(keras.optimizers.SGD(), [0, 2], [1.0, 0.5]),
            ValueError,
            "`groups` must be numbers of groups, below the number of `rates`",
        ),
        (
            lambda: GroupedOptimizer(keras.optimizers.SGD(), [0]).build(built().weights),
            ValueError,
            "`groups` must have a number for each weight that learns",
        ),
        (lambda: fit(built(), ModalityRates({"c": 1.0})), ValueError, "`name` must be that of"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
