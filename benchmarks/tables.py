"""Writes the results tables of README.md and benchmarks/README.md from benchmarks/results/*.json.

    python benchmarks/tables.py

A table stands between `<!-- results: NAME -->` and `<!-- end -->`: that of one file, or, as
`systems`, the one line that each system has.
"""

import json
import pathlib
import re

from seeds import cell, columns_of

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
    seeds = f"{result['seeds']} seeds, mean ± sd" if result["seeds"] > 1 else "1 seed"
    return f"{result['title']}; {seeds}:\n\n" + markdown(["", *columns], body)


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
    """Returns a page with every table made anew."""

    def load(path: pathlib.Path) -> dict:
        return json.loads(path.read_text(encoding="utf-8"))

    def replace(match: re.Match) -> str:
        if match[2] == "systems":
            table = systems_table([load(path) for path in sorted(RESULTS.glob("*.json"))])
        else:
            table = result_table(load(RESULTS / f"{match[2]}.json"))
        return match[1] + table + match[3]

    return BLOCK.sub(replace, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
