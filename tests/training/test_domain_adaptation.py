"""Schedules of domain adaptation, and the choice of an epoch without target labels."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.layers import GradientReversal
from mm_keras.training import ProgressDecay, ReversalSchedule, SelectEpoch, target_score
from tests.conformance.cases import floats

X = {"a": floats(12, 4)}
Y = {"label": np.arange(12) % 3, "domain": np.arange(12) % 2}


def build(**options):
    keras.utils.set_random_seed(0)
    model = mm.build_afe({"a": mm.Features(4)}, 3, width=5, **options)
    loss = mm.losses.classification()
    model.compile("sgd", {"label": loss, "domain": loss}, jit_compile=False)
    return model


class Factors(keras.callbacks.Callback):
    """Keeps the factor that each step was made with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        layer = self.model.get_layer("domain_reversal")
        self.seen.append(float(keras.ops.convert_to_numpy(layer.current_factor)))


def expected(steps, factor=1.0, gamma=10.0):
    p = np.arange(steps) / steps
    return factor * (2 / (1 + np.exp(-gamma * p)) - 1)


def test_reversal_follows_the_steps():
    model, factors = build(reversal=0.5), Factors()
    callbacks = [ReversalSchedule(gamma=5.0), factors]
    model.fit(X, Y, batch_size=4, epochs=4, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(factors.seen, expected(12, 0.5, 5.0), rtol=1e-5, atol=1e-7)


def test_reversal_starts_at_0_and_ends_near_1():
    schedule = ReversalSchedule()
    assert schedule.share(0.0) == 0.0
    assert round(schedule.share(1.0), 5) == 0.99991
    assert [round(schedule.share(p), 6) for p in (0.3, 0.7)] == [0.905148, 0.998178]


def test_reversal_follows_the_epochs_where_the_steps_are_unknown():
    model, factors = build(), Factors()
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    unknown = data.filter(lambda *_: True)
    model.fit(unknown, epochs=2, verbose=0, callbacks=[ReversalSchedule(), factors])
    start = expected(2)
    np.testing.assert_allclose(factors.seen[:4], [start[0]] * 3 + [start[1]], rtol=1e-5)


def test_every_reversal_layer_is_set():
    keras.utils.set_random_seed(0)
    modalities = {"a": mm.Features(4), "b": mm.Features(4)}
    model = mm.build_afe(modalities, 3, width=5, align="each", reversal=2.0)
    loss = mm.losses.classification()
    names = ["label", "a_domain", "b_domain"]
    model.compile("sgd", dict.fromkeys(names, loss), jit_compile=False)
    y = {"label": Y["label"], "a_domain": Y["domain"], "b_domain": Y["domain"]}
    model.fit({"a": X["a"], "b": X["a"]}, y, epochs=2, verbose=0, callbacks=[ReversalSchedule()])
    layers = [layer for layer in model.layers if isinstance(layer, GradientReversal)]
    assert len(layers) == 2
    for layer in layers:
        np.testing.assert_allclose(layer.current_factor, 2 * ReversalSchedule().share(0.5))


def test_reversal_schedule_needs_a_layer():
    model = mm.build_mcnn({"a": mm.Features(4)}, 3)
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    with pytest.raises(ValueError, match="`model` must have a GradientReversal layer"):
        model.fit(X, Y["label"], verbose=0, callbacks=[ReversalSchedule()])
    with pytest.raises(ValueError, match="`gamma` must be at least 0"):
        ReversalSchedule(-1.0)


class Rates(keras.callbacks.Callback):
    """Keeps the learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def test_learning_rate_follows_the_steps():
    model, rates = build(), Rates()
    decay = ProgressDecay(0.02, alpha=5.0, beta=0.5)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[decay, rates])
    p = np.arange(6) / 6
    np.testing.assert_allclose(rates.seen, 0.02 / (1 + 5 * p) ** 0.5, rtol=1e-5)
    paper = [0.01 / (1 + 10 * p) ** 0.75 for p in (0.0, 0.25, 1.0)]
    np.testing.assert_allclose([ProgressDecay().rate(p) for p in (0.0, 0.25, 1.0)], paper)


@pytest.mark.parametrize("argument", ["initial", "alpha", "beta"])
def test_learning_rate_errors(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be at least 0"):
        ProgressDecay(**{argument: -1})


def test_learning_rate_is_not_scheduled_twice():
    model = build()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(keras.optimizers.SGD(schedule), {"label": mm.losses.classification()})
    with pytest.raises(ValueError, match="`optimizer` must have a number as its learning rate"):
        model.fit(X, {"label": Y["label"]}, verbose=0, callbacks=[ProgressDecay()])


P = np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.0, 0.1, 0.9]])


def entropy(p):
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)


def test_scores():
    np.testing.assert_allclose(target_score(P, "entropy"), -entropy(P).mean())
    information = entropy(P.mean(axis=0)) - entropy(P).mean()
    np.testing.assert_allclose(target_score(P), information)
    unit = P / np.linalg.norm(P, axis=1, keepdims=True)
    total = 0.0
    for i in range(4):
        powers = np.array([np.exp(unit[i] @ unit[j] / 0.05) for j in range(4) if j != i])
        total += entropy(powers / powers.sum())
    np.testing.assert_allclose(target_score(P, "density"), total / 4)


def test_density_in_blocks_is_that_of_all_pairs():
    p = np.random.default_rng(0).dirichlet(np.ones(3), 2100)
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    scores = unit @ unit.T / 0.05
    np.fill_diagonal(scores, -np.inf)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    each = entropy(powers / powers.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(target_score(p, "density"), each.mean())


class Scripted(keras.callbacks.Callback):
    """Makes the head's kernel what it was times another number after each epoch."""

    def __init__(self, scales):
        super().__init__()
        self.scales = scales

    def on_train_begin(self, logs=None):
        self.kernel = self.model.get_layer("label_logits").kernel
        self.first = np.array(self.kernel)

    def on_epoch_end(self, epoch, logs=None):
        self.kernel.assign(self.first * self.scales[epoch])


@pytest.mark.parametrize(("start", "best"), [(0, 1), (2, 3)])
def test_the_best_epoch_is_put_back(start, best):
    model = build()
    model.optimizer.learning_rate = 0.0
    scales = [1.0, 100.0, 3.0, 10.0, 2.0]
    scripted, select = Scripted(scales), SelectEpoch(X, "entropy", start=start)
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[scripted, select])
    logged = history.history["target_entropy"]
    assert logged[0] < logged[4] < logged[2] < logged[3] < logged[1]
    assert select.best_epoch == best
    np.testing.assert_allclose(scripted.kernel, scripted.first * scales[best])
    np.testing.assert_allclose(
        logged[best], target_score(np.asarray(model(X)["label"]), "entropy"), rtol=1e-5
    )


def test_the_target_may_be_a_dataset_whose_labels_are_not_used():
    logged = []
    for labels in (np.zeros(12), np.full(12, np.nan)):
        model = build()
        data = tf.data.Dataset.from_tensor_slices((X, labels)).batch(5)
        history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[SelectEpoch(data)])
        logged.append(history.history["target_information"])
    model = build()
    arrays = X | {"further": np.zeros(12)}
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[SelectEpoch(arrays)])
    assert logged[0] == logged[1]
    np.testing.assert_allclose(history.history["target_information"], logged[0], rtol=1e-5)


def test_selection_errors():
    with pytest.raises(ValueError, match="`criterion` must be one of"):
        SelectEpoch(X, "accuracy")
    with pytest.raises(TypeError, match=r"`target` must be \{input: array\}"):
        SelectEpoch(X["a"])
    with pytest.raises(ValueError, match="`start` must be an integer of at least 0"):
        SelectEpoch(X, start=-1)
    with pytest.raises(ValueError, match=r"`output` must be one of \['domain', 'label'\]"):
        build().fit(X, Y, verbose=0, callbacks=[SelectEpoch(X, output="digit")])
    with pytest.raises(ValueError, match="`predictions` must be probabilities"):
        target_score(np.ones((1, 3)))


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_jax_follows_the_schedule_and_reverses_the_gradient():
    code = """
import keras, numpy as np
from tests.training.test_domain_adaptation import *
assert keras.backend.backend() == "jax"
model, factors = build(reversal=0.5, method="cdan", entropy_conditioning=True), Factors()
select = SelectEpoch(X)
callbacks = [ReversalSchedule(5.0), factors, select]
model.fit(X, Y, batch_size=4, epochs=4, verbose=0, callbacks=callbacks)
layer = model.get_layer("domain_reversal")
layer.current_factor.assign(0.25)
found = mm.testing.gradients(lambda x: layer(x["x"]), None, {"x": X["a"]})["x"]
plain = mm.testing.gradients(lambda x: x["x"] * 1.0, None, {"x": X["a"]})["x"]
np.testing.assert_allclose(found, -0.25 * plain, rtol=1e-5)
adda = mm.build_adda(model)
adda.compile("sgd")
adda.fit({"a": X["a"], "a_source": X["a"]}, verbose=0)
print("factors", *factors.seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = [float(word) for word in done.stdout.rpartition("factors")[2].split()]
    assert len(seen) == 12
    assert seen[0] == 0.0
    assert seen == sorted(seen)
    assert seen[-1] > 0.4
