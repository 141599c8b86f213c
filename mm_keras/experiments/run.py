"""Trains what an experiment describes, measures it and writes it to a folder."""

import contextlib
import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import mm_keras
from mm_keras import distribute, plots
from mm_keras.data import check_dataset, domain_batches, labels_for_outputs
from mm_keras.distribute import Workers
from mm_keras.experiments.config import CALLBACKS, Experiment
from mm_keras.experiments.losses import losses_of
from mm_keras.exporting import export
from mm_keras.models import BUILDERS, Classification, Head, Regression, inference_model
from mm_keras.models.heads import check_heads
from mm_keras.training import Checkpoints, ProgressBar, jit_compile

LATENCY_RUNS = 50
Batches = Any  # a tf.data.Dataset of (inputs, labels); TensorFlow itself is not needed here


@dataclasses.dataclass
class Outcome:
    """What came of an experiment.

    Args:
        name: Of the model in tables.
        model: The trained model.
        history: `{metric: value of each epoch}`.
        test: `{metric: value}` on the test split.
        seconds: Wall-clock time of `fit`.
        latency_ms: Median milliseconds of `predict_on_batch` on one sample.
        predictions: `{head: (true, predicted)}` class numbers of classification heads on the test
            split.
    """

    name: str
    model: keras.Model
    history: dict[str, list[float]]
    test: dict[str, float]
    seconds: float
    latency_ms: float
    predictions: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def parameters(self) -> int:
        """Number of parameters of the graph that ships."""
        return inference_model(self.model).count_params()

    def report(self) -> dict[str, Any]:
        """Returns the figures as plain JSON values."""
        return {
            "name": self.name,
            "test": self.test,
            "parameters": self.parameters,
            "training_seconds": round(self.seconds, 2),
            "latency_ms": round(self.latency_ms, 3),
            "history": self.history,
        }

    def write(
        self,
        folder: str | pathlib.Path,
        classes: Sequence[str] | None = None,
        training_data: str | None = None,
    ) -> None:
        """Writes the model (`.keras`, SavedModel), its diagram and confusion matrices.

        Args:
            folder: Made where it doesn't exist.
            classes: Names of the classes; `None`: their numbers.
            training_data: For the cards of the models: what it was trained on.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, format in (("model.keras", "keras"), ("saved_model", "saved_model")):
            # The check takes processes that import TensorFlow: `mm-keras export` makes it.
            export(
                self.model,
                folder / name,
                format=format,
                check=False,
                classes=dict.fromkeys(self.predictions, classes) if classes else None,
                metrics=self.test,
                training_data=training_data,
            )
        plots.model_diagram(self.model).savefig(folder / "model_diagram.png", dpi=150)
        for head, (true, predicted) in self.predictions.items():
            count = self.model.output[head].shape[-1]
            names = classes or [str(number) for number in range(count)]
            figure = plots.confusion_matrix(true, predicted, names, f"{self.name}: {head}")
            suffix = "" if len(self.predictions) == 1 else f"_{head}"
            figure.savefig(folder / f"confusion_matrix{suffix}.png", dpi=150)


def run_experiment(
    experiment: Experiment,
    name: str = "model",
    console: Console | None = None,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome | None:
    """Trains and measures what an experiment describes.

    Args:
        experiment: From `read_config`, or made by hand.
        name: Of the model in tables and progress bars.
        console: Where the progress bar goes; `None`: standard output.
        workers: Of the strategy to train with: each of them calls this. `None`: this process.
        checkpoints: Where to keep the state of the training.
        resume: Whether to go on from the last of them, if there is one.
        callbacks: Besides those of the experiment.

    Returns:
        The outcome. Of several workers the chief alone measures it, on a copy of the model that is
        its own; the others return `None` at once.
    """
    splits = experiment.splits
    sources = [one for one in (experiment.source, experiment.target) if one]
    with workers.chief_first() if workers else contextlib.nullcontext():
        modalities = experiment.source.adapt(experiment.modalities, splits.train)
        for source in sources if workers else ():  # TFDS prepares what nobody has used yet
            source.batches(splits.train, modalities, splits.batch_size)
    keras.utils.set_random_seed(experiment.seed)  # after TFDS, which may draw numbers
    heads = check_heads(experiment.num_classes)

    def build() -> keras.Model:
        made = BUILDERS[experiment.builder](
            modalities, experiment.num_classes, **experiment.options
        )
        compile_for(made, experiment)
        return made

    with workers.strategy.scope() if workers else contextlib.nullcontext():
        model = build()

    def batches(source, split: str, shuffle: bool = False) -> Batches:
        return source.batches(split, modalities, splits.batch_size, shuffle, experiment.seed)

    def learnt_from(split: str, training: bool = False) -> Batches:
        def prepared(source) -> Batches:
            found = batches(source, split, training)
            if not training:
                return experiment.preparation.like_mixed(found, heads)
            return experiment.preparation(
                found, modalities, heads, splits.batch_size, experiment.seed
            )

        found = prepared(experiment.source)
        if experiment.target:
            pair = (found, prepared(experiment.target))
            known = [int(one.cardinality()) for one in pair]  # in batches, of which each gets half
            found = domain_batches(
                *(one.unbatch() for one in pair),
                splits.batch_size,
                steps=2 * max(known) if min(known) > 0 else None,
            )
        return labels_for_outputs(found, model)

    history, seconds = train_model(
        model,
        learnt_from(splits.train, training=True),
        learnt_from(splits.validation) if splits.validation else None,
        epochs=experiment.epochs,
        callbacks=[
            *(CALLBACKS[key](**options) for key, options in experiment.callbacks.items()),
            *callbacks,
        ],
        name=name,
        console=console,
        workers=workers,
        checkpoints=checkpoints,
        resume=resume,
    )
    if workers and workers.strategy.num_replicas_in_sync > 1:
        if not workers.is_chief:
            return None
        trained, model = model, build()
        model.set_weights(trained.get_weights())
    shipped = inference_model(model)
    compile_for(shipped, experiment)
    test = batches(experiment.target or experiment.source, splits.test)
    test = experiment.preparation.like_mixed(test, heads)
    return measure_model(
        model,
        labels_for_outputs(test, shipped),
        history,
        seconds,
        classes=[head for head, spec in heads.items() if isinstance(spec, Classification)],
        shipped=shipped,
        name=name,
    )


def compile_for(model: keras.Model, experiment: Experiment) -> None:
    """Compiles a graph as an experiment says."""
    heads = check_heads(experiment.num_classes)
    model.compile(
        _optimizer(experiment),
        losses_of(model, experiment, heads),
        metrics=_metrics(experiment, heads),
        jit_compile=jit_compile(),
    )


def _metrics(experiment: Experiment, heads: Mapping[str, Head]) -> Mapping[str, Any]:
    """Returns `{head: metrics}`; heads of numbers have no accuracy."""
    if isinstance(experiment.metrics, Mapping):
        return experiment.metrics
    return {
        name: [m for m in experiment.metrics if m != "accuracy" or not isinstance(head, Regression)]
        for name, head in heads.items()
    }


def train_and_measure(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    test: Batches,
    *,
    epochs: int,
    classes: Sequence[str] = ("label",),
    shipped: keras.Model | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    name: str = "model",
    console: Console | None = None,
) -> Outcome:
    """Checks the data, trains a compiled model with a progress bar and measures it.

    Args:
        model: Compiled.
        train: Batches that are trained on.
        validation: Batches watched during training.
        test: Batches for the figures at the end.
        epochs: Passes over `train`.
        classes: Outputs that are classes, for confusion matrices.
        shipped: `inference_model(model)`, compiled, for the figures at the end; `None`: the model.
        callbacks: Of the training.
        name: Of the model in tables and progress bars.
        console: Where the progress bar goes; `None`: standard output.
    """
    trained = train_model(
        model, train, validation, epochs=epochs, callbacks=callbacks, name=name, console=console
    )
    return measure_model(model, test, *trained, classes=classes, shipped=shipped, name=name)


def train_model(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    *,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    name: str = "model",
    console: Console | None = None,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
) -> tuple[dict[str, list[float]], float]:
    """Checks the data and trains a compiled model; returns the history and the seconds it took.

    Args:
        model: Compiled.
        train: Batches that are trained on.
        validation: Batches watched during training.
        epochs: Passes over `train`.
        callbacks: Of the training.
        name: In progress bars.
        console: Where the progress bar goes; `None`: standard output.
        workers: Those that train together; `None`: this process.
        checkpoints: Where to keep the state of the training. Without them, and without workers,
            the training is Keras' own `fit`.
        resume: Whether to go on from the last of them, if there is one.
    """
    check_dataset(train, model)
    options = {
        "validation_data": validation,
        "epochs": epochs,
        "verbose": 0,
        "callbacks": [ProgressBar(name, console), *callbacks],
    }
    start = time.perf_counter()
    if workers or checkpoints:
        history = distribute.fit(
            model, train, **options, checkpoints=checkpoints, resume=resume
        ).history
    else:  # the dataset shuffles itself
        history = model.fit(train, shuffle=False, **options).history
    seconds = time.perf_counter() - start
    return {key: [float(v) for v in values] for key, values in history.items()}, seconds


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


def _optimizer(experiment: Experiment) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.get(experiment.optimizer)
    if experiment.learning_rate is not None:
        optimizer.learning_rate = experiment.learning_rate
    return optimizer


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


def outcome_table(outcomes: Sequence[Outcome], title: str) -> Table:
    """Returns a table of accuracy (or the first metric), size, time and latency."""
    metric = next((key for key in outcomes[0].test if "loss" not in key), "loss")
    table = Table(title=title)
    table.add_column("model")
    for column in (f"test {metric}", "parameters", "training s", "latency ms/sample"):
        table.add_column(column, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            f"{outcome.test[metric]:.3f}",
            f"{outcome.parameters:,}",
            f"{outcome.seconds:.1f}",
            f"{outcome.latency_ms:.2f}",
        )
    return table


def write_metrics(outcomes: Sequence[Outcome], path: str | pathlib.Path, **more: Any) -> None:
    """Writes the figures of all models, and what they were measured with, to a JSON file."""
    report = {
        "models": [outcome.report() for outcome in outcomes],
        "versions": versions(),
        "devices": keras.distribution.list_devices(),
        **more,
    }
    pathlib.Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Returns the versions that decide about results."""
    return {
        "mm_keras": mm_keras.__version__,
        "keras": keras.__version__,
        "tensorflow": importlib.metadata.version("tensorflow"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "backend": keras.config.backend(),
    }
