"""Writes the results in README.md, benchmarks/README.md and docs/ from benchmarks/results/*.json.

    python benchmarks/tables.py

A table stands between `<!-- results: NAME -->` and `<!-- end -->`: that of one file, or, as
`systems`, the one line that each system has.

A figure in prose stands between `<!-- value: NAME | ROW | FIGURE | FORMAT -->` and `<!-- / -->`:
the mean over the seeds, in a Python format such as `.1f`. ROW may be a difference, `ROW minus
OTHER`; with `| each` at the end it is one figure for each seed, with commas between. A test refuses
results that are written by hand.
"""

import json
import pathlib
import re
import statistics

from seeds import cell, columns_of

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLED = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
PAGES = (*TABLED, *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
VALUE = re.compile(r"(<!-- value: ([^>]*?) -->)[^<]*(<!-- / -->)")


def load(name: str) -> dict:
    """Returns a file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def value(expression: str) -> str:
    """Returns a figure of some results: `nasn | both | accuracy % | .1f`."""
    name, row, figure, form, *each = " ".join(expression.split()).split(" | ")
    rows = load(name)["rows"]
    row, _, other = row.partition(" minus ")
    values = rows[row][figure]
    if other:
        values = [a - b for a, b in zip(values, rows[other][figure], strict=True)]
    if each not in ([], ["each"]):
        raise ValueError(f"A value ends with its format, or with `each`. Received: {expression}.")
    values = values if each else [statistics.mean(values)]
    return ", ".join(format(number, form) for number in values).replace("-", "−")


def markdown(header: list[str], body: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def result_table(result: dict) -> str:
    """Returns one result as a table, under a line that says what it is."""
    rows = result["rows"]
    columns = columns_of(rows)
    body = [
        [name, *(cell(row[figure]) if figure in row else "–" for figure in columns)]
        for name, row in rows.items()
    ]
    counted = result.get("counted", "seed")
    repeats = f"{result['seeds']} {counted}s, mean ± sd" if result["seeds"] > 1 else f"1 {counted}"
    return f"{result['title']}; {repeats}:\n\n" + markdown(["", *columns], body)


def systems_table(results: list[dict]) -> str:
    """Returns the lines of all results: what each system reaches beside its baseline."""
    header = ["system", "data", "figure", "measured", "baseline", "published"]
    body = []
    for result in results:
        for line in result["lines"]:
            measured, baseline = (
                f"{cell(result['rows'][line[key]][line['figure']])} ({line[key]})"
                for key in ("row", "baseline")
            )
            start = [f"`{line['system']}`", line["data"], line["figure"]]
            body.append([*start, measured, baseline, line["published"]])
    return markdown(header, sorted(body))


def render(page: str) -> str:
    """Returns a page with every table and every figure made anew."""

    def replace(match: re.Match) -> str:
        if match[2] == "systems":
            table = systems_table([load(path.stem) for path in sorted(RESULTS.glob("*.json"))])
        else:
            table = result_table(load(match[2]))
        return match[1] + table + match[3]

    page = VALUE.sub(lambda match: match[1] + value(match[2]) + match[3], page)
    return BLOCK.sub(replace, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
