"""Is fusion worth it, and which one? Systems against each other and each modality alone."""

import csv
import dataclasses
import functools
import hashlib
import inspect
import json
import pathlib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from mm_keras import plots
from mm_keras._checks import check_bool, check_int
from mm_keras._files import written_whole
from mm_keras.evaluate import mean_interval, paired_test
from mm_keras.experiments.config import Experiment, builder_of, parse_config, read_yaml
from mm_keras.experiments.folds import Folds
from mm_keras.experiments.keys import check_keys
from mm_keras.experiments.narrowing import narrowed
from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.run import run_experiment
from mm_keras.experiments.versions import versions
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
            return f"{self.repetitions} seeds"
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


@dataclasses.dataclass(frozen=True)
class ComparedRow:
    """A system, or a modality alone, over all seeds and folds.

    Args:
        name: Of the row.
        values: The metric on the test split, in order of the seeds, folds within them.
        figures: `parameters`, `mflops` (millions of floating-point operations of one prediction),
            `training_seconds` and `latency_ms` of one sample: medians over the seeds.
        p: Of a paired t-test over the values against the best single modality; `None` for that one,
            without single modalities, for one value, and where all differences are the same. Over
            folds it is the corrected resampled t-test, see `mm.evaluate.paired_test`.
        test_ratio: Of folds, as there.
    """

    name: str
    values: tuple[float, ...]
    figures: Mapping[str, float]
    p: float | None = None
    test_ratio: float = 0.0

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.mean(self.values)

    @property
    def interval(self) -> float | None:
        """Half the width of the mean's 95 % interval, by Student's t; `None` for one value."""
        return mean_interval(self.values, test_ratio=self.test_ratio)


@dataclasses.dataclass(frozen=True)
class Compared:
    """The rows of a comparison, of which metric, and how many folds, if any."""

    rows: tuple[ComparedRow, ...]
    metric: str
    folds: int | None = None

    def table(self, title: str = "", note: str = "") -> Table:
        """Returns the table that the command prints."""
        table = Table(title=title, caption=note or None)
        table.add_column("system")
        columns = (f"test {self.metric}", "p", "parameters", "MFLOP", "training s", "latency ms")
        for column in columns:
            table.add_column(column, justify="right")
        for row in self.rows:
            interval = "" if row.interval is None else f" ± {row.interval:.3f}"
            figures = row.figures
            table.add_row(
                row.name,
                f"{row.mean:.3f}{interval}",
                "" if row.p is None else f"{row.p:.3f}",
                f"{figures['parameters']:,.0f}",
                f"{figures['mflops']:,.2f}",
                f"{figures['training_seconds']:.1f}",
                f"{figures['latency_ms']:.2f}",
            )
        return table

    def write(self, folder: str | pathlib.Path) -> None:
        """Writes `comparison.json`, `comparison.csv` and `comparison.png` to a folder."""
        folder = pathlib.Path(folder)
        rows = [
            {
                "name": row.name,
                "mean": row.mean,
                "interval": row.interval,
                "p": row.p,
                **row.figures,
                "values": list(row.values),
            }
            for row in self.rows
        ]
        with written_whole(folder / "comparison.json") as path:
            content = {
                "metric": self.metric,
                "folds": self.folds,
                "rows": rows,
                "versions": versions(),
            }
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with (
            written_whole(folder / "comparison.csv") as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow([key for key in rows[0] if key != "values"])
            writer.writerows([[v for k, v in row.items() if k != "values"] for row in rows])
        figure = plots.comparison_chart(
            {row.name: row.values for row in self.rows},
            f"test {self.metric}",
            unit="folds" if self.folds else "seeds",
            test_ratio=self.rows[0].test_ratio,
        )
        with written_whole(folder / "comparison.png") as path:
            figure.savefig(path, dpi=150)


def compare(
    comparison: Comparison, folder: str | pathlib.Path, console: Console | None = None
) -> Compared:
    """Trains every row with every seed or fold, and compares them with the best single modality.

    Each training is written to the folder when it ends; called again with the same comparison,
    after a crash say, finished ones are read instead of run.

    Args:
        comparison: What is compared.
        folder: For the results: `runs/`, `comparison.json`, `comparison.csv`, `comparison.png`.
        console: Where the table grows; `None`: standard output.

    Returns:
        All rows; the metric is the first that is no loss, on the test split.

    Raises:
        ValueError: If the folder holds another comparison, or the data can't be divided into so
            many folds.

    Reference: Dror et al., The Hitchhiker's Guide to Testing Statistical Significance, 2018; Nadeau
    and Bengio, Inference for the Generalization Error, 2003.
    """
    console = console or Console()
    folder = pathlib.Path(folder)
    runs = folder / "runs"
    trainings = _trainings(comparison)
    runs.mkdir(parents=True, exist_ok=True)
    _check_same(comparison, folder)
    measured: dict[str, list[dict[str, Any]]] = {}
    title = f"{comparison.experiment.source.name}, {comparison.experiment.epochs} epochs"
    quiet = Console(quiet=True)
    with Live(console=console, auto_refresh=False) as live:
        for row, experiment in comparison.rows().items():
            measured[row] = []
            for name, prepared in trainings.items():
                path = runs / f"{re.sub(r'[^A-Za-z0-9]+', '_', row)}-{_short(row)}-{name}.json"
                if not path.exists():
                    note = f"training {row}, seed {name.replace('-', ', fold ')}"
                    live.update(_shown(comparison, measured, title, note), refresh=True)
                    outcome = run_experiment(prepared(experiment), row, quiet)
                    with written_whole(path) as unfinished:
                        unfinished.write_text(json.dumps(_figures(outcome)), encoding="utf-8")
                measured[row].append(json.loads(path.read_text(encoding="utf-8")))
        compared = _compared(comparison, measured)
        corrected = ", corrected for folds" if comparison.folds else ""
        note = (
            f"{comparison.described}; mean ± 95 % interval; p: paired with the best modality"
            f"{corrected}"
        )
        live.update(compared.table(title, note), refresh=True)
    compared.write(folder)
    return compared


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


def _check_same(comparison: Comparison, folder: pathlib.Path) -> None:
    """Raises where a folder holds the runs of another comparison."""
    path = folder / "runs" / "fingerprint.txt"
    fingerprint = _short(repr(comparison))
    if path.exists() and path.read_text(encoding="utf-8") != fingerprint:
        raise ValueError(
            "`folder` must be a new one, or that of the same comparison, which is then continued. "
            f"Received: folder={folder}, whose runs have other settings."
        )
    with written_whole(path) as unfinished:
        unfinished.write_text(fingerprint, encoding="utf-8")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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
    return Compared(tuple(rows), metric, comparison.folds)


def _shown(comparison: Comparison, measured, title: str, note: str):
    finished = {row: runs for row, runs in measured.items() if runs}
    if not finished:
        return note
    return Group(_compared(comparison, finished).table(title), note)
