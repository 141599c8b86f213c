"""A model and its compressed variants, side by side."""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console, Group
from rich.table import Table

from mm_keras import plots
from mm_keras._checks import check_int, nearest
from mm_keras._files import check_writable, written_whole
from mm_keras.compress import measure_child
from mm_keras.compress.variant import Variant, variant_of
from mm_keras.evaluate import calibration_metrics
from mm_keras.evaluate.samples import accuracy as share_of_right

BATCHES = (1, 32)
LABEL, COLUMN = 21, 13  # characters of a table: what a line says, and a model's figures
Metrics = Mapping[str, Callable[[Any, Any], float]]


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one model.

    Args:
        name: Of the model.
        metrics: `{name: value}` on the dataset.
        bytes: On disk: as `.keras` of the graph that ships, or as `.tflite`.
        zipped_bytes: The same after DEFLATE, as in a zip.
        sparsity: Share of zeros in kernels and embedding tables.
        parameters: Number of weights; LiteRT has folded normalizations into its kernels.
        latency_ms: `{size of a batch: median milliseconds of a batch}`.
        latency_p95_ms: Likewise, the 95th percentile.
        peak_memory_bytes: Of a process that loads the file and runs it, the runtime included.
    """

    name: str
    metrics: dict[str, float]
    bytes: int
    zipped_bytes: int
    sparsity: float
    parameters: int
    latency_ms: dict[int, float]
    latency_p95_ms: dict[int, float]
    peak_memory_bytes: int


def report(
    variants: Mapping[str, Any],
    dataset: tf.data.Dataset,
    *,
    metrics: Metrics | None = None,
    path: str | os.PathLike | None = None,
    runs: int = 50,
    console: Console | None = None,
) -> list[Row]:
    """Measures a model and its compressed variants on your data, and prints a table.

    Accuracy is measured here; latency and peak memory in a fresh process for each variant, which
    has only the runtime that serves the file: TensorFlow for a Keras model (the compiled function,
    without the work around it that `predict` does), LiteRT with one thread for a LiteRT model.

    Args:
        variants: `{name: model}`: functional Keras models, LiteRT models such as `quantize`
            returns, or paths of `.keras` or `.tflite` files. The first is what the others are
            compared with.
        dataset: Batches of `({name: array}, labels)`, which no variant has seen: a test set.
        metrics: `{name: f(labels, predictions) -> number}` with all labels and predictions as
            arrays, dicts of arrays where labels are a dict. `None`: accuracy, of class numbers or
            one-hot labels, and, where all models predict probabilities of classes, NLL and ECE (see
            `mm.evaluate.calibration_metrics`); of several outputs, the mean.
        path: Where the figures go: `<path>.json`, and a picture of the first metric against size,
            `<path>.png`. `None`: nowhere.
        runs: How many times each batch is run for its latency.
        console: Where the table goes; `None`: standard output.

    Returns:
        One row for each variant, in order.

    Raises:
        TypeError: If a variant is no model, or `dataset` no dataset.
        ValueError: If there is no variant, a variant has other inputs than `dataset` gives, or
            labels do not fit.
        OSError: If `path` can't be written; before anything is measured.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2, width=8)
    >>> inputs = {"a": np.ones((40, 4)), "b": np.ones((40, 3))}
    >>> test = tf.data.Dataset.from_tensor_slices((inputs, [0, 1] * 20)).batch(8)
    >>> small = mm.compress.quantize(model, "dynamic")
    >>> rows = mm.compress.report({"float": model, "dynamic": small}, test, runs=3)
    <BLANKLINE>
    ...
    >>> rows[0].metrics["accuracy"], rows[1].bytes < rows[0].bytes
    (0.5, True)
    """
    check_int("runs", runs)
    if not isinstance(variants, Mapping) or not variants:
        raise ValueError(
            f"`variants` must be a dict of at least one model. Received: variants={variants!r}."
        )
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "`dataset` must be a tf.data.Dataset of batches ({name: array}, labels). "
            f"Received: an object of type {type(dataset).__name__}."
        )
    if path is not None:
        for suffix in (".json", ".png"):
            check_writable(f"{os.fspath(path)}{suffix}")
    models = {name: variant_of(name, model) for name, model in variants.items()}
    _check_inputs(models, dataset)
    values, samples = evaluate(models, dataset, metrics)
    rows = [_row(name, model, values[name], dataset, runs) for name, model in models.items()]
    console = console or Console()
    console.print(tables(rows, samples, console.width))
    if path is not None:
        write(rows, samples, path)
    return rows


def evaluate(
    models: Mapping[str, Variant], dataset: tf.data.Dataset, metrics: Metrics | None
) -> tuple[dict[str, dict[str, float]], int]:
    """Returns `{name: {metric: value}}` on a dataset, which is read once, and its size."""
    labels: list[Any] = []
    predictions: dict[str, list[Any]] = {name: [] for name in models}
    for element in dataset:
        inputs = {name: np.asarray(value) for name, value in element[0].items()}
        labels.append(tf.nest.map_structure(np.asarray, element[1]))
        for name, model in models.items():
            given = {key: inputs[key] for key in model.inputs}
            predictions[name].append(_like(labels[-1], model.predict(given), name))
    if not labels:
        raise ValueError("`dataset` must have at least one sample. Received: none.")
    joined = _join(labels)
    samples = len(tf.nest.flatten(joined)[0])
    found = {name: _join(parts) for name, parts in predictions.items()}
    if not metrics:
        metrics = {"accuracy": accuracy}
        if all(map(_are_probabilities, found.values())):
            metrics |= PROBABILISTIC
    return {
        name: {key: float(f(joined, values)) for key, f in metrics.items()}
        for name, values in found.items()
    }, samples


def accuracy(labels: Any, predictions: Any) -> float:
    """Returns the share of right classes; of several outputs, their mean."""
    if isinstance(labels, Mapping):
        return statistics.mean(accuracy(labels[name], predictions[name]) for name in labels)
    if predictions.ndim != 2 or predictions.shape[-1] < 2 or len(labels) != len(predictions):
        raise ValueError(
            "`metrics` must be given for what is not one class of several, e.g. "
            "{'MAE': lambda labels, predictions: …}. Received: labels of shape "
            f"{labels.shape}, predictions of shape {predictions.shape}."
        )
    return share_of_right(labels, predictions)


def negative_log_likelihood(labels: Any, predictions: Any) -> float:
    """Returns the mean of −ln of the probability of what is right; of several outputs, their mean.

    Unlike accuracy, it sees what rounding does to probabilities.
    """
    return _calibration(labels, predictions, "NLL")


def expected_calibration_error(labels: Any, predictions: Any) -> float:
    """Returns how far confidence is from accuracy; of several outputs, their mean."""
    return _calibration(labels, predictions, "ECE")


PROBABILISTIC = {"NLL": negative_log_likelihood, "ECE": expected_calibration_error}


def _calibration(labels, predictions, metric) -> float:
    if isinstance(labels, Mapping):
        return statistics.mean(_calibration(labels[k], predictions[k], metric) for k in labels)
    return calibration_metrics(labels, predictions)[metric]


def _are_probabilities(predictions: Any) -> bool:
    if isinstance(predictions, Mapping):
        return all(_are_probabilities(values) for values in predictions.values())
    return (
        predictions.ndim == 2
        and predictions.shape[1] > 1
        and bool((predictions >= 0).all())
        and np.allclose(predictions.sum(axis=1), 1, atol=1e-2)
    )


def tables(rows: Sequence[Row], samples: int, width: int) -> Group:
    """Returns the rows as tables with a column for each model.

    Args:
        rows: The first is in every table.
        samples: Number of them.
        width: Of the console, in characters: what does not fit goes into a further table.
    """
    size = max(1, (width - LABEL) // COLUMN - 1)
    first, others = rows[:1], rows[1:]
    parts = [others[start : start + size] for start in range(0, len(others), size)] or [[]]
    return Group(*(_table([*first, *part], samples) for part in parts))


def _table(rows: Sequence[Row], samples: int) -> Table:
    shown = Table(title=f"Compression, {samples:,} samples")
    shown.add_column("", no_wrap=True)
    for row in rows:
        shown.add_column(row.name, justify="right", overflow="fold")
    lines = {name: [f"{row.metrics[name]:.4f}" for row in rows] for name in rows[0].metrics}
    lines["KB"] = [f"{row.bytes / 1e3:,.0f}" for row in rows]
    lines["KB zipped"] = [f"{row.zipped_bytes / 1e3:,.0f}" for row in rows]
    lines["zeros %"] = [f"{100 * row.sparsity:.1f}" for row in rows]
    lines["parameters"] = [f"{row.parameters:,}" for row in rows]
    for size in rows[0].latency_ms:
        lines[f"ms, batch {size}"] = [f"{row.latency_ms[size]:.3g}" for row in rows]
        lines[f"ms, batch {size}, p95"] = [f"{row.latency_p95_ms[size]:.3g}" for row in rows]
    lines["peak MB"] = [f"{row.peak_memory_bytes / 1e6:,.0f}" for row in rows]
    for label, cells in lines.items():
        shown.add_row(label, *cells)
    return shown


def write(rows: Sequence[Row], samples: int, path: str | os.PathLike) -> None:
    """Writes the rows as JSON, and the picture."""
    figures = {"samples": samples, "rows": [dataclasses.asdict(row) for row in rows]}
    with written_whole(f"{os.fspath(path)}.json") as unfinished:
        unfinished.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    metric = next(iter(rows[0].metrics))
    points = {row.name: (row.bytes / 1e3, row.metrics[metric]) for row in rows}
    with written_whole(f"{os.fspath(path)}.png") as unfinished:
        plots.size_tradeoff(points, metric, samples).savefig(unfinished, dpi=150)


def _row(name, model, metrics, dataset, runs) -> Row:
    weight = model.weigh()
    measured = measure(model, dataset, runs)
    times = {int(size): values for size, values in measured["latency_ms"].items()}
    return Row(
        name=name,
        metrics=metrics,
        bytes=weight.bytes,
        zipped_bytes=weight.zipped_bytes,
        sparsity=weight.sparsity,
        parameters=weight.parameters,
        latency_ms={size: statistics.median(values) for size, values in times.items()},
        latency_p95_ms={size: float(np.percentile(v, 95)) for size, v in times.items()},
        peak_memory_bytes=measured["peak_memory"],
    )


def measure(model: Variant, dataset: tf.data.Dataset, runs: int) -> dict[str, Any]:
    """Returns times of batches of 1 and 32 samples, and peak memory, of a fresh process."""
    inputs = next(iter(dataset))[0]
    arrays = {}
    for size in BATCHES:
        for name, dtype in model.inputs.items():
            array = np.asarray(inputs[name])
            array = np.resize(array, (size, *array.shape[1:]))  # repeats samples
            arrays[f"{size}/{name}"] = array.astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        written = model.write(pathlib.Path(folder))
        np.savez(pathlib.Path(folder) / "inputs.npz", **arrays)
        command = [sys.executable, "-P", measure_child.__file__, os.fspath(written)]
        command += [os.path.join(folder, "inputs.npz"), str(runs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The process that measures a variant failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _check_inputs(models: Mapping[str, Variant], dataset: tf.data.Dataset) -> None:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2 or not isinstance(spec[0], Mapping):
        raise ValueError(
            f"`dataset` must give ({{name: array}}, labels). Received elements: {spec}."
        )
    for name, model in models.items():
        for key in model.inputs:
            if key not in spec[0]:
                raise ValueError(
                    f"`dataset` must give the inputs {sorted(model.inputs)} of {name!r}."
                    f"{nearest(key, spec[0])} Received: {sorted(spec[0])}, without {key!r}."
                )


def _like(labels: Any, outputs: dict[str, np.ndarray], name: str) -> Any:
    """Returns the predictions that the labels are of."""
    if not isinstance(labels, Mapping):
        if len(outputs) > 1 and "label" not in outputs:
            raise ValueError(
                "`dataset` must give labels as a dict by the names of outputs, for a model with "
                f"several: {sorted(outputs)}. Received: an array."
            )
        return outputs["label"] if "label" in outputs else next(iter(outputs.values()))
    found = {key: outputs[key] for key in labels if key in outputs}
    if not found:
        raise ValueError(
            f"`dataset` must give labels of outputs of {name!r}, {sorted(outputs)}. "
            f"Received: labels of {sorted(labels)}."
        )
    return found


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)
