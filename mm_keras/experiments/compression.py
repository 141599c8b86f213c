"""Compresses what `mm-keras train` has trained, and reports what it cost."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from rich.console import Console

from mm_keras._checks import check_choice, check_int, check_number
from mm_keras._files import check_writable, written_whole
from mm_keras.compress import Row, cluster, prune, quantize, quantize_aware, report
from mm_keras.compress.quantize import kept_layers
from mm_keras.compress.report import PROBABILISTIC, Metrics, accuracy
from mm_keras.data import labels_for_outputs
from mm_keras.experiments.compilation import compile_for
from mm_keras.experiments.config import Experiment
from mm_keras.exporting import LiteRTModel
from mm_keras.models import Head, MultiLabel, Regression, inference_model, modalities_of
from mm_keras.models.heads import check_heads
from mm_keras.training import ProgressBar


@dataclasses.dataclass(frozen=True)
class Settings:
    """How variants are made.

    Args:
        sparsity: Share of zeros of pruned ones.
        clusters: Number of different values in a kernel of clustered ones.
        epochs: Of each training.
        learning_rate: Of each training; `None`: the experiment's, or 1e-3, for pruning, and a tenth
            of it for the others.
    """

    sparsity: float = 0.8
    clusters: int = 16
    epochs: int = 2
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_number("sparsity", self.sparsity, below=1.0)
        check_int("clusters", self.clusters, minimum=2)
        check_int("epochs", self.epochs)
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate)


class _Maker:
    """Makes variants of a compiled model; the pruned one, which another starts from, once."""

    def __init__(self, model, train, validation, settings: Settings, rate: float, console):
        self.model, self.train, self.validation = model, train, validation
        self.settings, self.rate, self.console = settings, rate, console
        self._pruned = None

    def _training(self, name: str, share: float = 0.1) -> dict[str, Any]:
        rate = self.settings.learning_rate or share * self.rate
        return {
            "epochs": self.settings.epochs,
            "validation_data": self.validation,
            "compile": {"optimizer": keras.optimizers.Adam(rate)},
            "callbacks": [ProgressBar(name, self.console)],
            "verbose": 0,
        }

    def pruned(self):
        if self._pruned is None:
            training = self._training("pruning", share=1.0)
            self._pruned = prune(self.model, self.train, self.settings.sparsity, **training)
        return self._pruned

    def clustered(self, model=None):
        training = self._training("clustering")
        return cluster(model or self.model, self.train, self.settings.clusters, **training)

    def qat(self, model=None):
        return quantize_aware(model or self.model, self.train, **self._training("quantizing"))

    def combined(self):
        return self.qat(self.clustered(self.pruned()))

    def after_training(self, mode):
        return quantize(self.model, mode, representative=self.train)


VARIANTS: dict[str, Callable[[_Maker], Any]] = {
    "int8": lambda maker: maker.after_training("int8"),
    "dynamic": lambda maker: maker.after_training("dynamic"),
    "float16": lambda maker: maker.after_training("float16"),
    "16x8": lambda maker: maker.after_training("16x8"),
    "pruned": _Maker.pruned,
    "clustered": _Maker.clustered,
    "qat": _Maker.qat,
    "combined": _Maker.combined,
}
TRAINED = {"pruned", "clustered", "qat", "combined"}
DEFAULT = ("int8", "dynamic", "float16")  # those without training


def variants(text: str) -> tuple[str, ...]:
    """Returns the variants that a text names, with commas between; `"all"`: all but 16x8."""
    if text == "all":
        return tuple(name for name in VARIANTS if name != "16x8")
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        check_choice("variants", name, [*VARIANTS, "all"])
    return names


def compress_trained(
    model: keras.Model,
    experiment: Experiment,
    variants: Sequence[str] = DEFAULT,
    settings: Settings | None = None,
    folder: str | pathlib.Path | None = None,
    console: Console | None = None,
) -> list[Row]:
    """Makes variants of a trained model, writes them, measures them and prints one table.

    Args:
        model: Trained.
        experiment: What it was trained on; variants are trained on the same split, if at all, and
            measured on its test split.
        variants: Names out of `VARIANTS`.
        settings: How they are made.
        folder: Receives `<variant>.tflite` or `<variant>.keras` of each, `report.json` and
            `report.png`; `None`: nothing is written.
        console: Where the table goes; `None`: standard output.

    Returns:
        One row for the model, as `"float"`, and one for each variant.
    """
    console = console or Console()
    settings = settings or Settings()
    for name in variants:
        check_choice("variants", name, VARIANTS)
    trained = sorted(TRAINED & set(variants))
    if trained and experiment.target:
        raise ValueError(
            "`variants` must not be trained further for build_afe, which would need its target. "
            f"Received: {trained}."
        )
    if folder is not None:
        check_writable(pathlib.Path(folder) / "report.json")
    model = inference_model(model)
    if "16x8" in variants:
        kept_layers(model, None, "16x8")  # raises where that is no use
    compile_for(model, experiment)
    specs, splits = modalities_of(model), experiment.splits

    def batches(split: str, shuffle: bool = False, source=experiment.source):
        found = source.batches(split, specs, splits.batch_size, shuffle, experiment.seed)
        return labels_for_outputs(found, model)

    maker = _Maker(
        model,
        batches(splits.train, shuffle=True),
        batches(splits.validation) if splits.validation else None,
        settings,
        experiment.learning_rate or 1e-3,
        console,
    )
    made = {"float": model}
    for name in variants:
        console.print(f"Making {name}.", highlight=False)
        made[name] = VARIANTS[name](maker)
        if folder is not None:
            _write(made[name], pathlib.Path(folder), name)
    path = None if folder is None else pathlib.Path(folder) / "report"
    test = batches(splits.test, source=experiment.target or experiment.source)
    metrics = _metrics(check_heads(experiment.num_classes))
    return report(made, test, metrics=metrics, path=path, console=console)


def _metrics(heads: Mapping[str, Head]) -> Metrics:
    """Returns accuracy and calibration of classes, accuracy of labels, and errors of numbers."""

    def of(name, function):
        def measure(labels, predictions):
            if isinstance(labels, Mapping):
                labels, predictions = labels[name], predictions[name]
            return function(labels, predictions)

        return measure

    found = {}
    for name, head in heads.items():
        prefix = "" if len(heads) == 1 else f"{name} "
        if isinstance(head, Regression):
            found[f"{prefix}mean absolute error"] = of(name, _absolute_error)
        elif isinstance(head, MultiLabel):
            found[f"{prefix}binary accuracy"] = of(name, _binary_accuracy)
        else:
            found[f"{prefix}accuracy"] = of(name, accuracy)
            for metric, function in () if head.logits else PROBABILISTIC.items():
                found[f"{prefix}{metric}"] = of(name, function)
    return found


def _absolute_error(labels, predictions):
    return np.abs(labels.reshape(predictions.shape) - predictions).mean()


def _binary_accuracy(labels, predictions):
    return np.mean((labels > 0.5) == (predictions > 0.5))


def _write(model: Any, folder: pathlib.Path, name: str) -> None:
    if isinstance(model, LiteRTModel):
        model.save(folder / f"{name}.tflite")
    else:
        with written_whole(folder / f"{name}.keras") as unfinished:
            inference_model(model).save(unfinished)
