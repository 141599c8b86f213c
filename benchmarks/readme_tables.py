"""Writes the results tables of README.md from benchmarks/results/*.json.

    python benchmarks/readme_tables.py

A table stands between `<!-- results: NAME -->` and `<!-- end -->`.
"""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(result: dict) -> str:
    """Returns a result as a Markdown table."""
    settings = result["settings"]
    lines = [
        f"{result['title']}; {settings['epochs']} epochs, {settings['seeds']} seeds:",
        "",
        "| model | test accuracy %, mean ± sd | each seed | parameters |",
        "|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        seeds = " ".join(f"{100 * value:.1f}" for value in row["accuracy"])
        lines.append(
            f"| {name} | {row['mean']:.1f} ± {row['sd']:.1f} | {seeds} | {row['parameters']:,} |"
        )
    return "\n".join(lines) + "\n"


def render(readme: str) -> str:
    """Returns the README with every table made anew."""

    def replace(match: re.Match) -> str:
        path = ROOT / "benchmarks" / "results" / f"{match[2]}.json"
        return match[1] + table(json.loads(path.read_text(encoding="utf-8"))) + match[3]

    return BLOCK.sub(replace, readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
