"""The weight of mutual learning over the epochs, and a loss for every student."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.training import MutualRampUp, student_losses

VECTORS = {"a": mm.Features(3), "b": mm.Features(4)}
X = {"a": np.ones((4, 3), "float32"), "b": np.ones((4, 4), "float32")}
Y = np.array([0, 1, 0, 1])


class WeightOfEachStep(keras.callbacks.Callback):
    """Notes what the weight is while a batch trains."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        layers = [x for x in self.model.layers if isinstance(x, mm.layers.MutualLearning)]
        self.seen.append([round(float(x.current_weight.numpy()), 4) for x in layers])


def fit(model, *callbacks, **options):
    losses = student_losses(model)
    model.compile(keras.optimizers.SGD(0.1), losses, jit_compile=False)
    labels = dict.fromkeys(losses, Y)
    return model.fit(X, labels, batch_size=2, verbose=0, callbacks=list(callbacks), **options)


@pytest.mark.parametrize(
    ("warmup", "rampup", "expected"),
    [
        (2, 2, [0, 0, 0.5, 1, 1]),
        (0, 4, [0.25, 0.5, 0.75, 1, 1]),
        (2, 0, [0, 0, 1, 1, 1]),
        (0, 0, [1, 1, 1, 1, 1]),
        (9, 1, [0, 0, 0, 0, 0]),
    ],
)
def test_weight_rises_to_that_of_the_model(warmup, rampup, expected):
    model, seen = mm.build_dml(VECTORS, 2, width=4, mutual_weight=0.8), WeightOfEachStep()
    fit(model, MutualRampUp(warmup, rampup), seen, epochs=5)
    assert seen.seen[::2] == seen.seen[1::2]  # the same for both batches of an epoch
    np.testing.assert_allclose([w for (w,) in seen.seen[::2]], 0.8 * np.array(expected), atol=1e-4)


def test_resumed_training_goes_on_where_it_was():
    model, seen = mm.build_dml(VECTORS, 2, width=4), WeightOfEachStep()
    fit(model, MutualRampUp(2, 4), seen, epochs=4, initial_epoch=3)
    assert seen.seen == [[0.5], [0.5]]


def test_every_head_ramps():
    model = mm.build_dml(VECTORS, {"x": 2, "y": 2}, width=4, mutual_weight=2.0)
    seen = WeightOfEachStep()
    fit(model, MutualRampUp(0, 2), seen, epochs=1)
    assert seen.seen == [[1.0, 1.0]] * 2


def test_the_weight_reaches_the_compiled_loss():
    model = mm.build_dml(VECTORS, 2, width=4, mutual_weight=3.0)
    history = fit(model, MutualRampUp(1, 0), epochs=2).history
    students = [sum(history[f"{name}_loss"][epoch] for name in "ab") for epoch in (0, 1)]
    np.testing.assert_allclose(history["loss"][0], students[0], rtol=1e-5)
    assert history["loss"][1] > students[1] + 1e-3


@pytest.mark.parametrize("argument", ["warmup", "rampup"])
def test_errors(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be an integer of at least 0.*=-1"):
        MutualRampUp(**{argument: -1})
    with pytest.raises(TypeError, match=f"`{argument}` must be an integer.*=1.5"):
        MutualRampUp(**{argument: 1.5})


def test_a_model_without_mutual_learning_is_refused():
    model = mm.build_mcnn(VECTORS, 2, width=4)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    with pytest.raises(ValueError, match=r"must have a MutualLearning layer.*'mcnn' without one"):
        model.fit(X, Y, verbose=0, callbacks=[MutualRampUp()])


HEADS = {"digit": 3, "tags": mm.MultiLabel(2, logits=True), "size": mm.Regression(1)}


def test_every_student_has_the_usual_loss_of_its_head():
    losses = student_losses(mm.build_dml(VECTORS, HEADS, width=4))
    assert sorted(losses) == ["a_digit", "a_size", "a_tags", "b_digit", "b_size", "b_tags"]
    assert isinstance(losses["a_digit"], mm.losses.ClassificationCrossentropy)
    assert not losses["a_digit"].from_logits
    assert isinstance(losses["b_tags"], keras.losses.BinaryCrossentropy)
    assert losses["b_tags"].from_logits
    assert isinstance(losses["b_size"], keras.losses.MeanSquaredError)
    logits = student_losses(mm.build_dml(VECTORS, mm.Classification(3, logits=True), peers=2))
    assert sorted(logits) == ["peer_1", "peer_2"]
    assert logits["peer_1"].from_logits


def test_losses_may_be_chosen():
    model = mm.build_dml(VECTORS, HEADS, width=4)
    losses = student_losses(model, {"size": "mean_absolute_error"})
    assert losses["a_size"] == losses["b_size"] == "mean_absolute_error"
    assert isinstance(losses["a_digit"], mm.losses.ClassificationCrossentropy)
    one = student_losses(mm.build_dml(VECTORS, 2), "categorical_crossentropy")
    assert one == dict.fromkeys("ab", "categorical_crossentropy")


def test_losses_without_students_or_for_unknown_heads():
    with pytest.raises(ValueError, match=r"must have students and their ensemble.*'mcnn'"):
        student_losses(mm.build_mcnn(VECTORS, 2))
    with pytest.raises(ValueError, match=r"`loss` must name heads out of \['label'\].*\['a'\]"):
        student_losses(mm.build_dml(VECTORS, 2), {"a": "mse"})


@pytest.mark.slow
def test_jax_follows_the_ramp():
    pytest.importorskip("jax")
    code = """
import keras, numpy as np
import mm_keras as mm
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
vectors = {"a": mm.Features(3), "b": mm.Features(4, optional=True)}
model = mm.build_dml(vectors, 2, width=4, mutual_weight=3.0)
model.compile(keras.optimizers.SGD(0.1), mm.training.student_losses(model))
x = {"a": np.ones((4, 3)), "b": np.ones((4, 4)), "b_present": np.arange(4)[:, None] > 0}
y = dict.fromkeys("ab", np.array([0, 1, 0, 1]))
ramp = mm.training.MutualRampUp(1, 0)
history = model.fit(x, y, epochs=2, verbose=0, callbacks=[ramp]).history
mutual = [history["loss"][i] - history["a_loss"][i] - history["b_loss"][i] for i in (0, 1)]
print("mutual", *mutual)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(float, done.stdout.rpartition("mutual")[2].split())
    assert abs(first) < 1e-5
    assert second > 1e-4
