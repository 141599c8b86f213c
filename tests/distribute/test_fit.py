"""The loop itself, without distribution: what `Model.fit` does, and errors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.distribute.batches import Batches
from mm_keras.distribute.callbacks import check_callbacks
from tests.distribute.cases import ACCUMULATED, CASES, samples

QUIET = {"verbose": 0}


def data(count=20, batch=6, **kwargs):
    return samples(count, **kwargs).batch(batch)


def steps(model):
    return int(model.optimizer.iterations.numpy())


class Seen(keras.callbacks.Callback):
    """Notes every call of a hook."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("end", batch))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch_end", epoch, sorted(logs)))

    def on_test_end(self, logs=None):
        self.calls.append(("test_end", sorted(logs)))

    def on_train_begin(self, logs=None):
        self.calls.append(("train", self.params["epochs"], self.params["steps"]))

    def on_train_end(self, logs=None):
        self.calls.append(("train_end", sorted(logs)))


OPTIONS = {
    "epochs": 5,
    "initial_epoch": 1,
    "validation_freq": 2,
    "class_weight": {1: 3.0, 2: 0.5},
    "steps_per_epoch": 3,
    "validation_steps": 2,
}


@pytest.mark.slow
def test_arguments_history_and_callbacks_are_those_of_keras():
    """20 samples in batches of 6 and 3 steps an epoch: epochs go on where the last one ended."""
    found = []
    for fit in (keras.Model.fit, mm.distribute.fit):
        model, seen = CASES["mcnn"].model(), Seen()
        watched = [
            seen,
            keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e6),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        ]
        train = data().repeat()
        history = fit(
            model, train, callbacks=watched, validation_data=data(seed=1), **OPTIONS, **QUIET
        )
        found.append((history.history, seen.calls, steps(model)))
    (expected, calls, count), (got, own_calls, own_count) = found
    assert own_calls == calls
    assert own_count == count
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5)


def test_rates_and_unfreezing_are_those_of_keras_and_go_on_after_an_interruption(tmp_path):
    def trained(fit, epochs=4, **options):
        keras.utils.set_random_seed(0)
        model = mm.build_mcnn({"a": mm.Features(5), "b": mm.Features(4)}, 3, width=6)
        model.compile("adam", {"label": mm.losses.classification()}, jit_compile=False)
        rng = np.random.default_rng(0)
        inputs = {"a": rng.normal(size=(24, 5)), "b": rng.normal(size=(24, 4))}
        dataset = tf.data.Dataset.from_tensor_slices((inputs, np.arange(24) % 3)).batch(8)
        callbacks = [
            mm.training.ModalityRates({"b": 0.1}),
            mm.training.GradualUnfreezing({"a": 2}),
        ]
        start = model.get_layer("a_projection").get_weights()[0]
        fit(model, dataset, epochs=epochs, callbacks=callbacks, **options, **QUIET)
        moved = np.any(model.get_layer("a_projection").get_weights()[0] != start)
        return model.get_weights(), moved

    expected, _ = trained(keras.Model.fit)
    got, moved = trained(mm.distribute.fit)
    assert moved
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    options = {"checkpoints": mm.training.Checkpoints(tmp_path), "resume": True}
    _, moved = trained(mm.distribute.fit, epochs=1, **options)
    assert not moved
    resumed, _ = trained(mm.distribute.fit, **options)
    for one, other in zip(resumed, got, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_training_that_began_later_goes_on_in_its_own_order(tmp_path):
    def trained(epochs, **options):
        keras.utils.set_random_seed(0)
        model = mm.build_mcnn({"a": mm.Features(5)}, 3, width=6)
        model.compile("adam", mm.losses.classification(), jit_compile=False)
        inputs = {"a": np.random.default_rng(0).normal(size=(24, 5))}
        dataset = tf.data.Dataset.from_tensor_slices((inputs, np.arange(24) % 3))
        dataset = dataset.shuffle(24, seed=1).batch(4)
        mm.distribute.fit(model, dataset, initial_epoch=2, epochs=epochs, **options, **QUIET)
        return model.get_weights()

    options = {"checkpoints": mm.training.Checkpoints(tmp_path), "resume": True}
    trained(3, **options)
    for one, other in zip(trained(5, **options), trained(5), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "callback", [mm.training.ModalityRates({"a": 1}), mm.training.GradualUnfreezing({"a": 1})]
)
def test_callbacks_that_make_an_optimizer_are_for_one_replica(callback):
    check_callbacks([callback], replicas=1)
    with pytest.raises(ValueError, match=f"`callbacks` must not .*{type(callback).__name__} with"):
        check_callbacks([callback], replicas=2)


@pytest.mark.slow
def test_several_steps_together_are_the_same_steps():
    histories = []
    for together in (1, 3):
        case = CASES["mcnn"]
        model = case.model()
        options = {**case.compile(model), "steps_per_execution": together}
        model.compile(keras.optimizers.Adam(0.01), jit_compile=False, **options)
        seen = Seen()
        histories.append(
            mm.distribute.fit(model, data(), epochs=2, callbacks=[seen], **QUIET).history
        )
    assert ("end", 2) in seen.calls
    assert ("end", 0) not in seen.calls
    assert ("end", 3) in seen.calls
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "policy"),
    [("mcnn", "mixed_float16"), ("afe", "mixed_float16"), ("dml", "mixed_bfloat16")],
)
def test_mixed_precision_trains(name, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = CASES[name].model()
    finally:
        keras.config.set_dtype_policy(before)
    history = mm.distribute.fit(model, CASES[name].data(model), epochs=3, **QUIET)
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["loss"][-1] < history.history["loss"][0]
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")


def test_steps_that_run_out_are_told_and_a_dataset_without_end_needs_a_number():
    model = CASES["mcnn"].model()
    with pytest.warns(UserWarning, match="ran out of batches before the 9 steps"):
        mm.distribute.fit(model, data(), steps_per_epoch=9, **QUIET)
    assert steps(model) == 4
    with pytest.raises(ValueError, match="`dataset` must have an end, or a number of steps"):
        mm.distribute.fit(model, data().repeat(), **QUIET)
    with pytest.raises(ValueError, match="`dataset` must have a batch"):
        mm.distribute.fit(model, data().take(0), **QUIET)
    with pytest.raises(ValueError, match="`dataset` must have a batch"):
        mm.distribute.evaluate(model, data().filter(lambda inputs, label: False), **QUIET)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "`epochs` must be an integer of at least 1", {"epochs": 0}),
        (ValueError, "`initial_epoch` must be an integer of at least 0", {"initial_epoch": -1}),
        (ValueError, "`steps_per_epoch` must be an integer of", {"steps_per_epoch": 0}),
        (ValueError, "`validation_steps` must be an integer of", {"validation_steps": 0}),
        (ValueError, "`validation_freq` must be an integer of", {"validation_freq": [0]}),
        (ValueError, "`batch_norm` must be one of .* 'average'", {"batch_norm": "averaged"}),
        (TypeError, "`callbacks` must be callbacks of Keras", {"callbacks": [print]}),
        (TypeError, "`class_weight` must be a dict", {"class_weight": [1, 2]}),
        (ValueError, "`class_weight` must be an integer of at least 0", {"class_weight": {-1: 1}}),
        (ValueError, "`class_weight` must be at least 0.0", {"class_weight": {1: -1.0}}),
        (TypeError, "`validation_data` must be a tf.data.Dataset", {"validation_data": ([], [])}),
    ],
)
def test_arguments_are_checked_before_any_step(error, message, options):
    model = CASES["mcnn"].model()
    with pytest.raises(error, match=message):
        mm.distribute.fit(model, data(), **options, **QUIET)
    assert steps(model) == 0


def test_data_are_checked():
    model = CASES["mcnn"].model()
    arrays = {name: np.zeros((2, 6)) for name in model.input}
    for call in (mm.distribute.fit, mm.distribute.evaluate, mm.distribute.predict):
        with pytest.raises(TypeError, match=r"`dataset` must be a tf\.data\.Dataset of batches"):
            call(model, arrays, **QUIET)
        with pytest.raises(ValueError, match=r"`dataset` must give batches .* call its batch\(\)"):
            call(model, samples(4), **QUIET)
    with pytest.raises(TypeError, match="`dataset` must return a tf"):
        mm.distribute.fit(model, lambda context: arrays, **QUIET)
    dml = CASES["dml"].model()
    batches = CASES["dml"].data(dml)
    with pytest.raises(ValueError, match=r"weigh the samples by mm\.data\.add_class_weights"):
        mm.distribute.fit(dml, batches, class_weight={0: 2.0}, **QUIET)


def test_a_model_made_elsewhere_is_refused_with_the_fix(monkeypatch):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    outside = CASES["mcnn"].model()
    with (
        strategy.scope(),
        pytest.raises(ValueError, match=r"`model` must be built under the scope of Mirrored") as e,
    ):
        mm.distribute.fit(outside, data(), **QUIET)
    assert "with strategy.scope():" in str(e.value)
    optimizer = keras.optimizers.Adam()
    optimizer.build(outside.trainable_variables)
    with strategy.scope():
        model = CASES["mcnn"].build()
        with pytest.raises(ValueError, match="`model` must be compiled, under"):
            mm.distribute.fit(model, data(), **QUIET)
        model.compile(optimizer, mm.losses.classification(), jit_compile=False)
    with pytest.raises(ValueError, match="`model` must be compiled under the scope of Mirrored"):
        mm.distribute.fit(model, data(), **QUIET)
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        mm.distribute.fit("model", data(), **QUIET)
    with pytest.raises(ValueError, match="`model` must be built: call it on a batch"):
        mm.distribute.predict(keras.Sequential([keras.layers.Dense(1)]), data(), **QUIET)

    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(ValueError, match="each of its 2 workers would train a model of its own"):
        mm.distribute.fit(outside, data(), **QUIET)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("replicas", [2, 3])
def test_parts_of_a_batch_are_all_of_it(count, replicas):
    batches = Batches(mm.distribute.Workers(tf.distribute.get_strategy()), data())
    batches.even = False
    batch = {"x": tf.range(count), "y": tf.random.normal((count, 2))}
    rows, inputs = [], []
    for number in range(replicas):
        part, own, total = batches._part(batch, tf.constant(number, "int64"), replicas)
        assert total == count
        assert len(part["x"]) == max(1, len(own))  # a sample to compute on, if it has none
        rows += own.numpy().tolist()
        inputs += part["x"].numpy()[: len(own)].tolist()
    assert sorted(rows) == list(range(count))
    assert inputs == rows


def test_callbacks_that_write_are_the_chiefs(tmp_path):
    from mm_keras.distribute.callbacks import callback_list

    class Marked(keras.callbacks.Callback):
        chief_only = True

    stop = keras.callbacks.EarlyStopping()
    given = [keras.callbacks.TensorBoard(tmp_path), Marked(), mm.training.ProgressBar(), stop]
    kept = callback_list(given, chief=False, verbose=1).callbacks
    assert kept == [stop]
    all_of_them = callback_list(given, chief=True, verbose=1, epochs=1, steps=1).callbacks
    assert len(all_of_them) == 5  # the bar of `verbose`, too


def test_one_replica_accumulates_as_keras_does():
    """4 batches an epoch, two of them a step, of the mean gradient."""
    found = []
    for fit in (keras.Model.fit, mm.distribute.fit):
        model = ACCUMULATED.model()
        history = fit(model, ACCUMULATED.data(model), epochs=2, **QUIET)
        found.append((history.history["loss"], model.get_weights()))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
