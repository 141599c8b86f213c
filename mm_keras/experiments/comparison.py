"""Is fusion worth it, and which one? Systems against each other and each modality alone."""

import dataclasses
import functools
import inspect
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from mm_keras._checks import check_bool, check_int
from mm_keras.evaluate import paired_test
from mm_keras.experiments.compared import Compared, ComparedRow
from mm_keras.experiments.config import Experiment, builder_of, parse_config, read_yaml
from mm_keras.experiments.data_files import data_digest
from mm_keras.experiments.finished_runs import FinishedRuns, settings_of
from mm_keras.experiments.fitting import check_splits
from mm_keras.experiments.folds import Folds
from mm_keras.experiments.keys import check_keys
from mm_keras.experiments.narrowing import narrowed
from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.run import check_experiment, run_experiment
from mm_keras.exporting import flops
from mm_keras.models import BUILDERS

SINGLE = " only"
FIGURES = ("parameters", "mflops", "training_seconds", "latency_ms")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared, under one budget: the data, the epochs and the rest of an experiment.

    Args:
        experiment: The budget. Its builder and options are those of the single modalities; it is no
            row itself.
        systems: `{row: (name of a builder, its options)}`. Options of the experiment hold for a
            system too, where its builder has them and the system gives no other.
        seeds: How often each row is trained, with the seeds 0, 1, …: two or more for intervals.
            With folds: how often they are drawn. `None`: 3, with folds 1.
        singles: Whether each modality alone is a row too, with what the experiment says of it.
            Samples that `on_error` drops for another modality are not dropped there.
        folds: k: instead of the given split, the training and test samples are divided into k
            folds, each of which tests what is trained on the others; k trainings a seed. Folds have
            equal shares of the classes, and all rows have the same folds. The validation split
            stays. `None`: the split as it is.
    """

    experiment: Experiment
    systems: Mapping[str, tuple[str, Mapping[str, Any]]]
    seeds: int | None = None
    singles: bool = True
    folds: int | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None:
            check_int("compare.seeds", self.seeds)
        if self.folds is not None:
            check_int("compare.folds", self.folds, minimum=2)
        check_bool("compare.singles", self.singles)
        taken = sorted({f"{name}{SINGLE}" for name in self.experiment.modalities} & {*self.systems})
        if taken:
            raise ValueError(
                "`compare.systems` must not be named as the rows of single modalities are. "
                f"Received: {taken}."
            )

    @property
    def repetitions(self) -> int:
        """How many seeds there are."""
        return self.seeds or (1 if self.folds else 3)

    @property
    def test_ratio(self) -> float:
        """As in `mm.evaluate.paired_test`."""
        return 1 / (self.folds - 1) if self.folds else 0.0

    @property
    def described(self) -> str:
        """What the values of a row are from: `"3 seeds"`, `"5 folds"`, `"2 × 5 folds"`."""
        if not self.folds:
            return f"{self.repetitions} seeds" if self.repetitions > 1 else "1 seed"
        times = f"{self.repetitions} × " if self.repetitions > 1 else ""
        return f"{times}{self.folds} folds"

    def rows(self) -> dict[str, Experiment]:
        """Returns `{row: experiment}`: single modalities, then systems."""
        experiment = self.experiment
        rows = {}
        if self.singles:
            for name in sorted(experiment.modalities):
                rows[name + SINGLE] = narrowed(experiment, [name])
        for row, (builder, options) in self.systems.items():
            known = inspect.signature(BUILDERS[builder]).parameters
            common = {key: value for key, value in experiment.options.items() if key in known}
            rows[row] = dataclasses.replace(
                experiment, builder=builder, options={**common, **options}
            )
        return rows


def compare(
    comparison: Comparison, folder: str | pathlib.Path, console: Console | None = None
) -> Compared:
    """Trains every row with every seed or fold, and compares them with the best single modality.

    Each training is written to the folder when it ends; called again with the same comparison,
    after a crash say, finished ones are read instead of run. Rows and seeds may be added or removed
    then, and some rows changed: what is unchanged is not trained again. Every row's model is built
    and its data checked before the first training.

    Args:
        comparison: What is compared.
        folder: For the results: `runs/`, `comparison.json`, `comparison.csv`, `comparison.png`.
        console: Where the table grows; `None`: standard output.

    Returns:
        All rows; the metric is the first that is no loss, on the test split.

    Raises:
        ValueError: If the folder holds another comparison, or one on other data; if a row can't be
            trained, which is named; or if the data can't be divided into so many folds.

    Reference: Dror et al., The Hitchhiker's Guide to Testing Statistical Significance, 2018; Nadeau
    and Bengio, Inference for the Generalization Error, 2003.
    """
    console = console or Console()
    folder = pathlib.Path(folder)
    check_splits(comparison.experiment)
    trainings = _trainings(comparison)
    rows = comparison.rows()
    runs = FinishedRuns(
        folder / "runs",
        data_digest(comparison.experiment),
        {row: settings_of(experiment, comparison.folds) for row, experiment in rows.items()},
    )
    if changed := runs.check():
        names = ", ".join(changed)
        console.print(f"Trained anew, since settings are others than in {runs.folder}: {names}.")
    _check_rows(rows, trainings, runs)
    measured: dict[str, list[dict[str, Any]]] = {}
    title = f"{comparison.experiment.source.name}, {comparison.experiment.epochs} epochs"
    quiet = Console(quiet=True)
    with Live(console=console, auto_refresh=False) as live:
        for row, experiment in rows.items():
            measured[row] = []
            for name, prepared in trainings.items():
                figures = runs.read(row, name)
                if figures is None:
                    note = f"training {row}, seed {name.replace('-', ', fold ')}"
                    live.update(_shown(comparison, measured, title, note), refresh=True)
                    figures = _figures(run_experiment(prepared(experiment), row, quiet))
                    runs.write(row, name, figures)
                measured[row].append(figures)
        compared = _compared(comparison, measured)
        live.update(compared.table(title, _note(comparison, compared)), refresh=True)
    compared.write(folder)
    return compared


def _check_rows(rows: Mapping[str, Experiment], trainings, runs: FinishedRuns) -> None:
    """Raises for a row that could not be trained, before the first is."""
    first = next(iter(trainings.values()))
    for row, experiment in rows.items():
        if all(runs.read(row, name) for name in trainings):
            continue
        try:
            check_experiment(first(experiment))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"row {row!r}: {error}") from error


def _note(comparison: Comparison, compared: Compared) -> str:
    """Returns what stands below the table."""
    parts = [comparison.described]
    if any(row.interval is not None for row in compared.rows):
        parts.append("mean ± 95 % interval")
    if any(row.p is not None for row in compared.rows):
        corrected = ", corrected for folds" if comparison.folds else ""
        parts.append(
            f"p: paired{corrected}, with the best modality by these test scores: {compared.best}"
        )
    return "; ".join(parts)


def _trainings(comparison: Comparison) -> dict[str, Callable[[Experiment], Experiment]]:
    """Returns `{name: what makes a row's experiment that of a training}`, in order."""
    found: dict[str, Callable[[Experiment], Experiment]] = {}
    for seed in range(comparison.repetitions):
        seeded = functools.partial(dataclasses.replace, seed=seed)
        if comparison.folds is None:
            found[str(seed)] = seeded
            continue
        folds = Folds(comparison.experiment, comparison.folds, seed)
        for fold in range(comparison.folds):
            found[f"{seed}-{fold}"] = functools.partial(_on_fold, seeded, folds, fold)
    return found


def _on_fold(seeded, folds: Folds, fold: int, experiment: Experiment) -> Experiment:
    return folds.experiment(seeded(experiment), fold)


def read_comparison(path: str | pathlib.Path) -> Comparison:
    """Reads a comparison from a YAML file: an experiment, and what is compared under `compare`.

    Args:
        path: Of the file; `mm-keras compare --help` shows an example.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `read_config` raises.
    """

    def parse(config):
        config = dict(config)
        described = config.pop("compare", None)
        if not isinstance(described, Mapping) or not described.get("systems"):
            raise ValueError(
                "`config` must have the key 'compare', with 'systems': {row: {name: build_…, …}}. "
                f"Received: compare={described!r}."
            )
        options = dict(described)
        check_keys("compare", options, ["systems", "seeds", "singles", "folds"])
        experiment = parse_config(config)
        systems = {
            row: builder_of(f"compare.systems.{row}", options)
            for row, options in options.pop("systems").items()
        }
        return Comparison(experiment, systems, **options)

    return read_yaml(path, parse)


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {
        # Of several outputs Keras says `label_accuracy`, of the only one `accuracy`.
        "test": {key.removeprefix("label_"): value for key, value in outcome.test.items()},
        "parameters": outcome.parameters,
        "mflops": flops(outcome.model) / 1e6,
        "training_seconds": outcome.seconds,
        "latency_ms": outcome.latency_ms,
    }


def _compared(
    comparison: Comparison, measured: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Compared:
    names = next(iter(measured.values()))[0]["test"]
    metric = next((name for name in names if not name.endswith("loss")), "loss")
    values = {row: tuple(run["test"][metric] for run in runs) for row, runs in measured.items()}
    better = min if metric == "loss" else max
    singles = [row for row in measured if row.endswith(SINGLE)]
    best = better(singles, key=lambda row: statistics.mean(values[row])) if singles else None
    rows = []
    for row, runs in measured.items():
        figures = {key: statistics.median(run[key] for run in runs) for key in FIGURES}
        p = None
        if best not in (None, row) and len(runs) == len(measured[best]):  # no row under way
            p = paired_test(values[row], values[best], comparison.test_ratio)
        rows.append(ComparedRow(row, values[row], figures, p, comparison.test_ratio))
    return Compared(tuple(rows), metric, comparison.folds, best and best.removesuffix(SINGLE))


def _shown(comparison: Comparison, measured, title: str, note: str):
    finished = {row: runs for row, runs in measured.items() if runs}
    if not finished:
        return note
    return Group(_compared(comparison, finished).table(title), note)
