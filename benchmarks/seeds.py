"""What the benchmarks share: repeated seeds, a table of mean ± sd, a JSON of all of it."""

import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console
from rich.table import Table

from mm_keras.experiments.run import Outcome, versions

RESULTS = pathlib.Path(__file__).parent / "results"


def repeat(
    runs: Mapping[str, Callable[[int], Outcome]], seeds: Iterable[int]
) -> dict[str, dict[str, list]]:
    """Runs every row with every seed; returns figures by row, in the order of the seeds."""
    rows: dict[str, dict[str, list]] = {}
    for name, run in runs.items():
        row = rows[name] = {"seed": [], "accuracy": []}
        for seed in seeds:
            outcome = run(seed)
            row["seed"].append(seed)
            row["accuracy"].append(round(outcome.test["accuracy"], 4))
            row["parameters"] = outcome.parameters
    return rows


def report(name: str, rows: Mapping[str, dict], title: str, **settings) -> None:
    """Prints the table and writes `results/<name>.json`."""
    table = Table(title=title)
    table.add_column("model")
    for column in ("test accuracy, mean ± sd", "each seed", "parameters"):
        table.add_column(column, justify="right")
    for row_name, row in rows.items():
        percent = [100 * value for value in row["accuracy"]]
        row["mean"] = round(statistics.mean(percent), 2)
        row["sd"] = round(statistics.stdev(percent), 2) if len(percent) > 1 else None
        table.add_row(
            row_name,
            f"{row['mean']:.1f} ± {row['sd'] or 0:.1f}",
            " ".join(f"{value:.1f}" for value in percent),
            f"{row['parameters']:,}",
        )
    Console(width=120).print(table)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "benchmark": name,
        "title": title,
        "settings": settings,
        "rows": rows,
        "versions": versions(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print(f"Written to {path}.")
