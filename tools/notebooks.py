"""Pairs and executes the notebooks: each `.py` has an `.ipynb` of the same cells, without outputs.

    python tools/notebooks.py pair                   writes every .ipynb from its .py
    python tools/notebooks.py execute FILE…          runs notebooks, results in build/notebooks
    python tools/notebooks.py execute --full FILE…   the same on full data, in build/notebooks/full

`--full` sets the notebooks' own switch, `FULL = True`; what data each then needs stands beside it.
The `.py` is the one to edit. Colab opens only `.ipynb`, from the repository that setup.cfg names
under `[notebooks]`: `pair` writes that name into badges and installation cells.
"""

import configparser
import os
import pathlib
import re
import subprocess
import sys
import time

import jupytext
import nbformat

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
RESULTS = ROOT / "build" / "notebooks"
SWITCH = "\nFULL = False"
NAMES = re.compile(r"github(?:\.com)?/([\w.-]+/[\w.-]+?)(?=[\"/])")


def scripts() -> list[pathlib.Path]:
    """Returns the notebooks' scripts in order."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def repository() -> str:
    """Returns `owner/name` of the public repository, from setup.cfg."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["notebooks"]["repository"]


def with_repository(text: str) -> str:
    """Returns a script whose links lead to the repository of setup.cfg."""
    return NAMES.sub(lambda match: match[0].replace(match[1], repository()), text)


def paired(script: str) -> str:
    """Returns the .ipynb of a script: same cells, no outputs, the same text each time."""
    notebook = jupytext.reads(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def pair() -> None:
    """Writes every .ipynb, and the repository into every script."""
    for path in scripts():
        text = with_repository(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".ipynb").write_text(paired(text), encoding="utf-8")


def switched_on(script: str) -> str:
    """Returns a script with its switch set to the full data."""
    if script.count(SWITCH) != 1:
        raise ValueError(f"expected one line that starts with {SWITCH.strip()!r}")
    return script.replace(SWITCH, "\nFULL = True")


def execute(path: pathlib.Path, full: bool = False) -> bool:
    """Runs a notebook and prints the time it took; returns whether it went through."""
    results = RESULTS / "full" if full else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    script = path.read_text(encoding="utf-8")
    result = results / f"{path.stem}.ipynb"
    result.write_text(paired(switched_on(script) if full else script), encoding="utf-8")
    start = time.perf_counter()
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", str(result)]
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    print(
        f"{path.stem:25}{seconds:6.1f} s{'' if done.returncode == 0 else '   FAILED'}", flush=True
    )
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr, flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Does what the first argument says."""
    if arguments == ["pair"]:
        pair()
        return 0
    full = "--full" in arguments
    files = [pathlib.Path(name) for name in arguments[1:] if name != "--full"]
    if arguments[:1] == ["execute"] and files:
        return 0 if all(execute(file, full) for file in files) else 255
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
