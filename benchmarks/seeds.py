"""What the benchmarks share: repeated seeds, a table of mean ± sd, a JSON of all of it.

A figure bears its unit in its name, as the tables print it: `"accuracy %"`, `"seconds"`.
"""

import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.versions import versions

RESULTS = pathlib.Path(__file__).parent / "results"
Figures = Mapping[str, float]


def figures_of(outcome: Outcome) -> Figures:
    """Returns the figures of a classifier: accuracy on the test split, and its size."""
    return {
        "accuracy %": 100 * outcome.test["accuracy"],
        "parameters": outcome.parameters,
    }


def repeat(
    runs: Mapping[str, Callable[[int], Figures]], seeds: Iterable[int]
) -> dict[str, dict[str, list[float]]]:
    """Runs every row with every seed; returns `{row: {figure: its values in order of the seeds}}`.

    Args:
        runs: `{row: function of a seed to figures}`.
        seeds: The same for every row, so that rows can be compared in pairs.
    """
    seeds = list(seeds)
    rows: dict[str, dict[str, list[float]]] = {}
    for name, run in runs.items():
        measured = [run(seed) for seed in seeds]
        rows[name] = {
            figure: [round(figures[figure], 4) for figures in measured] for figure in measured[0]
        }
    return rows


def cell(values: Sequence[float]) -> str:
    """Returns what a table shows of a figure: one value that is always the same, or mean ± sd."""
    if len(set(values)) == 1:
        value = values[0]
        return f"{value:,.1f}" if value % 1 else f"{value:,.0f}"
    largest = max(map(abs, values))
    digits = 1 if largest >= 10 else 2 if largest >= 1 else 3
    return f"{statistics.mean(values):,.{digits}f} ± {statistics.stdev(values):,.{digits}f}"


def columns_of(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Returns the figures that some row has, in the order in which they come up."""
    return list(dict.fromkeys(figure for row in rows.values() for figure in row))


def report(
    name: str,
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    *,
    seeds: int,
    counted: str = "seed",
    lines: Sequence[Mapping[str, str]] = (),
    **settings,
) -> None:
    """Prints the table and writes `results/<name>.json`.

    Args:
        name: Of the file; that of the script, with a suffix where it writes several.
        rows: As `repeat` returns them.
        title: Says what was measured on which data and split.
        seeds: How many there were.
        counted: What there were so many of, where it is not seeds: `"round"`.
        lines: For the table of all systems in README.md: `{"system": "build_dml", "data": "MNIST,
            2,000 labels", "figure": "accuracy %", "row": …, "baseline": …, "published": …}`. `row`
            and `baseline` name rows of this table; `published` is text with its source, or "–".
        **settings: Whatever else decides about the result.
    """
    table = Table(title=title)
    table.add_column("")
    for figure in columns_of(rows):
        table.add_column(figure, justify="right")
    for row, figures in rows.items():
        table.add_row(row, *(cell(figures[f]) if f in figures else "–" for f in columns_of(rows)))
    Console(width=140).print(table)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "benchmark": name,
        "title": title,
        "seeds": seeds,
        "counted": counted,
        "settings": settings,
        "lines": list(lines),
        "rows": rows,
        "versions": versions(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    Console().print(f"Written to {path}.")
