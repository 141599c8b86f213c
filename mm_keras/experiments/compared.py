"""What a comparison has found: a table, files and a chart."""

import csv
import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping

import numpy as np
from rich.table import Table

from mm_keras import plots
from mm_keras._files import written_whole
from mm_keras.evaluate import mean_interval
from mm_keras.experiments.versions import versions


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
    """The rows of a comparison.

    Args:
        rows: Single modalities, then systems.
        metric: Of the values.
        folds: How many there are; `None`: none.
        best: The single modality with the best mean, which is chosen by the test scores themselves:
            systems are compared with what did well there, by luck too. `None`: no such rows.
    """

    rows: tuple[ComparedRow, ...]
    metric: str
    folds: int | None = None
    best: str | None = None

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
                _mflops(figures["mflops"]),
                f"{figures['training_seconds']:.1f}",
                f"{figures['latency_ms']:.2f}",
            )
        return table

    def _trainings(self, count: int) -> list[str]:
        """Returns a name for each of the values of a row."""
        if not self.folds:
            return [f"seed_{seed}" for seed in range(count)]
        return [f"seed_{n // self.folds}_fold_{n % self.folds}" for n in range(count)]

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
                "best_modality": self.best,
                "rows": rows,
                "versions": versions(),
            }
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with (
            written_whole(folder / "comparison.csv") as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            figures = [key for key in rows[0] if key != "values"]
            writer.writerow([*figures, *self._trainings(len(rows[0]["values"]))])
            writer.writerows([*(row[key] for key in figures), *row["values"]] for row in rows)
        figure = plots.comparison_chart(
            {row.name: row.values for row in self.rows},
            f"test {self.metric}",
            unit="folds" if self.folds else "seeds",
            test_ratio=self.rows[0].test_ratio,
        )
        with written_whole(folder / "comparison.png") as path:
            figure.savefig(path, dpi=150)


def _mflops(value: float) -> str:
    """Returns two decimals, or two digits of what is smaller."""
    return (
        f"{value:,.2f}"
        if value >= 0.1
        else np.format_float_positional(value, 2, unique=False, fractional=False, trim="-")
    )
