"""Rows that take turns, each time in a process of its own: for speed, side by side in one run.

A script maps its rows to jobs, names of its functions with arguments that JSON can carry:

    def train(library, batch):
        ...
        return {"samples/s": 800.0}

    if __name__ == "__main__":
        answer(train)  # ends here in a process that `take_turns` started
        rows = take_turns(__file__, {"Keras": ("train", "keras", 40)}, rounds=3, threads=2)

The script's head imports neither TensorFlow nor PyTorch: what a row doesn't use, it doesn't load.
All processes are bound to the same cores, as many as there are threads.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

JOB = "--job"
STARTED = "BENCHMARK_STARTED"
Rows = dict[str, dict[str, list[float]]]


def answer(*functions: Callable[..., Mapping[str, float]]) -> None:
    """Does the job that this process was started for, if it was, prints its figures and ends."""
    if sys.argv[1:2] != [JOB]:
        return
    name, *arguments = json.loads(sys.argv[2])
    figures = {function.__name__: function for function in functions}[name](*arguments)
    print(json.dumps(figures), flush=True)
    sys.exit()


def take_turns(
    script: str,
    jobs: Mapping[str, Sequence],
    rounds: int,
    *,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> Rows:
    """Runs all jobs one after the other, `rounds` times; the order is turned round each time.

    Args:
        script: `__file__` of a script that calls `answer`.
        jobs: `{row: (name of a function, *arguments)}`.
        rounds: How often.
        threads: Of each process, and cores it is bound to.
        environment: Further variables of the processes.

    Returns:
        `{row: {figure: its values in order of the rounds}}`, as `seeds.report` takes it.
    """
    bind(threads)
    rows: Rows = {row: {} for row in jobs}
    for number in range(rounds):
        for row in list(jobs) if number % 2 == 0 else reversed(list(jobs)):
            figures = run_job(script, jobs[row], threads, environment)
            print(f"{number + 1}/{rounds} {row}: {figures}", flush=True)
            for figure, value in figures.items():
                rows[row].setdefault(figure, []).append(round(value, 4))
    return rows


def arguments(doc: str, rounds: int, steps: int, **flags: str) -> argparse.Namespace:
    """Returns what was asked for: `rounds`, `steps`, `threads`, `suffix` of the results, flags.

    Args:
        doc: Of the script.
        rounds: Unless asked for otherwise; with `--short` 1.
        steps: Timed in each row, unless asked for otherwise; with `--short` 2.
        **flags: `name="what it is for"`, off unless asked for.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="to try it; results are *_short.json")
    for name, purpose in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=purpose)
    options = parser.parse_args()
    options.suffix = ""
    if options.short:
        options.rounds, options.steps, options.suffix = 1, 2, "_short"
    return options


def settings(options: argparse.Namespace) -> dict:
    """Returns what decides about the results, for `seeds.report`."""
    return {
        "seeds": options.rounds,
        "counted": "round",
        "steps": options.steps,
        "threads": options.threads,
        "device": processor(),
        "torch": version("torch"),
    }


def bind(threads: int) -> None:
    """Binds this process, and those that it starts, to as many cores as there are threads."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        sys.exit(
            f"`--threads` must be at most the {len(cores)} cores at hand. Received: {threads}."
        )
    os.sched_setaffinity(0, cores[:threads])


def run_job(script: str, job: Sequence, threads: int, environment=None) -> dict[str, float]:
    """Runs a job in a process of its own; returns its figures, the last line that it prints."""
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        STARTED: str(time.time()),
    }
    done = subprocess.run(
        [sys.executable, script, JOB, json.dumps(list(job))],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        env={**os.environ, **variables, **(environment or {})},
    )
    if done.returncode:
        sys.exit(f"The job {list(job)} of {script} failed: its message stands above.")
    return json.loads(done.stdout.splitlines()[-1])


def since_start() -> float:
    """Returns the seconds since `take_turns` started this process."""
    return time.time() - float(os.environ[STARTED])


def add_ratio(
    rows: Rows, figure: str, baselines: Iterable[str], name: str, *, smaller: bool = False
) -> None:
    """Adds `name` to every row that has `figure`: how many times as fast it is as the baselines.

    The ratio is taken within each round, as the machine may be slower in another.

    Args:
        rows: As `take_turns` returns them.
        figure: Of speed, or of time.
        baselines: Rows, of which the fastest in each round counts.
        name: Of the figure that is added.
        smaller: Whether the smaller of two figures is the faster, as it is of milliseconds.
    """
    present = [rows[row][figure] for row in baselines if figure in rows.get(row, {})]
    if not present:
        return
    fastest = [(min if smaller else max)(values) for values in zip(*present, strict=True)]
    for row in rows.values():
        if figure in row:
            pairs = zip(row[figure], fastest, strict=True)
            row[name] = [round(b / a if smaller else a / b, 4) for a, b in pairs]


def version(package: str) -> str | None:
    """Returns the version that is installed; `None`: it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Returns the name of the processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
