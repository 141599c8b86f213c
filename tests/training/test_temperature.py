"""Temperatures that fall while a model trains."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.training import TemperatureSchedule
from tests.conformance.cases import floats

SPEC = mm.Features(3)


def build():
    model = mm.build_dfn({"a": SPEC, "b": SPEC}, 2, width=4, gates=False)
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    return model


def fit(model, epochs, *callbacks, initial_epoch=0):
    inputs = {"a": floats(4, 3), "b": floats(4, 3, seed=1)}
    labels = np.array([0, 1, 0, 1])
    return model.fit(
        inputs,
        labels,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        callbacks=list(callbacks),
    )


def test_falls_in_equal_ratios():
    model = build()
    history = fit(model, 4, TemperatureSchedule(8.0, 1.0))
    np.testing.assert_allclose(history.history["temperature"], [8, 4, 2, 1])
    assert float(model.get_layer("gate").temperature) == pytest.approx(1)


def test_one_epoch_and_resumed_training():
    assert fit(build(), 1, TemperatureSchedule(8.0, 1.0)).history["temperature"] == [8.0]
    resumed = fit(build(), 4, TemperatureSchedule(8.0, 1.0), initial_epoch=2)
    np.testing.assert_allclose(resumed.history["temperature"], [2, 1])


def test_schedule_of_ones_own():
    history = fit(build(), 3, TemperatureSchedule(schedule=lambda p: 3 - 2 * p))
    np.testing.assert_allclose(history.history["temperature"], [3, 2, 1])
    with pytest.raises(ValueError, match="`schedule` must be above 0"):
        fit(build(), 2, TemperatureSchedule(schedule=lambda p: 1 - p))


def test_compiled_graph_follows_and_files_keep_it(tmp_path):
    model = build()
    gate = model.get_layer("gate")
    gate.score.assign(np.ones((4, 1)))
    inputs = {"a": np.ones((2, 3)), "b": -np.ones((2, 3))}
    gates = keras.Model(model.input, gate.output[-2])
    sharpness = []
    for temperature in (4.0, 0.1):
        fit(model, 1, TemperatureSchedule(temperature, temperature))
        sharpness.append(np.abs(gates.predict(inputs, verbose=0)[0] - 0.5).max())
    assert sharpness[1] > 2 * sharpness[0] > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.get_layer("gate").temperature) == pytest.approx(0.1)


def test_errors():
    for kwargs, message in (
        ({"start": 0}, "`start` must be above 0"),
        ({"end": 0}, "`end` must be above 0"),
        ({"end": -1}, r"`end` must be at least 0\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            TemperatureSchedule(**kwargs)
    model = mm.build_mcnn({"a": SPEC, "b": SPEC}, 2, width=4)
    model.compile("sgd", mm.losses.classification(), jit_compile=False)
    with pytest.raises(ValueError, match="`model` must have a ModalityGate"):
        fit(model, 1, TemperatureSchedule())
