"""Measures a trained model."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mm_keras.experiments.outcome import Outcome
from mm_keras.models import inference_model

LATENCY_RUNS = 50
Batches = Any  # a tf.data.Dataset of (inputs, labels); TensorFlow itself is not needed here


def measure_model(
    model: keras.Model,
    test: Batches,
    history: dict[str, list[float]],
    seconds: float,
    *,
    classes: Sequence[str] = ("label",),
    shipped: keras.Model | None = None,
    name: str = "model",
) -> Outcome:
    """Measures a trained model; arguments are those of `train_and_measure` and `Outcome`."""
    tested = shipped or model
    measured = tested.evaluate(test, verbose=0, return_dict=True)
    return Outcome(
        name=name,
        model=model,
        history=history,
        test={key: float(value) for key, value in measured.items()},
        seconds=seconds,
        latency_ms=measure_latency(shipped or inference_model(model), test),
        predictions=_predictions(tested, test, classes),
    )


def measure_latency(model: keras.Model, dataset: Batches, runs: int = LATENCY_RUNS) -> float:
    """Returns the median milliseconds of `predict_on_batch` on one sample, after a warm-up."""
    inputs = next(iter(dataset))[0]
    sample = {name: np.asarray(value)[:1] for name, value in inputs.items()}
    times = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        model.predict_on_batch(sample)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[3:])


def _predictions(model, test, classes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    predicted = model.predict(test, verbose=0)
    labels = [batch[1] for batch in test.as_numpy_iterator()]
    found = {}
    for head in classes:
        true = [label[head] if isinstance(label, Mapping) else label for label in labels]
        true = np.concatenate(true)
        if true.ndim == 2 and true.shape[1] == predicted[head].shape[1]:  # distributions
            true = np.argmax(true, axis=-1)
        found[head] = (true.ravel(), np.argmax(predicted[head], axis=-1))
    return found
