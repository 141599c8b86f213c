"""Worker processes on this machine."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from mm_keras._checks import check_int

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
SHOWN_LINES = 20


def launch(command: Sequence[str], workers: int) -> int:
    """Runs a command in several processes, as the workers of one cluster on this machine.

    Each gets `TF_CONFIG` with its number and free ports of the loopback, and, unless it is set, a
    share of the cores in `TF_NUM_INTRAOP_THREADS`. Worker 0 prints to this process' output; what
    the others print is shown if they fail. It serves for tests and machines of many cores; for
    several GPUs of one machine one process with `mm.distribute.strategy("mirrored")` is the way.

    When a worker fails, or is killed, the others are ended, within 6 seconds: first by SIGTERM,
    after 5 seconds by SIGKILL; and so they are when this process is interrupted.

    Args:
        command: Program and arguments, e.g. `[sys.executable, "train.py"]`.
        workers: How many processes, at least 1.

    Returns:
        0 if all ended well; else the exit status of the worker that failed first, 128 + the
        signal's number if it was killed.

    Raises:
        ValueError: If `workers` is below 1.
        OSError: If the command can't be run.

    Example:

    >>> import sys
    >>> import mm_keras as mm
    >>> mm.distribute.launch([sys.executable, "-c", "import os; os.environ['TF_CONFIG']"], 2)
    0
    """
    check_int("workers", workers)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    processes: list[subprocess.Popen] = []
    with tempfile.TemporaryDirectory(prefix="workers-") as folder, _ended_by_sigterm():
        logs = [pathlib.Path(folder) / f"worker_{number}.log" for number in range(workers)]
        try:
            for number, log in enumerate(logs):
                task = {"type": "worker", "index": number}
                environment = {
                    "TF_NUM_INTRAOP_THREADS": threads,
                    **os.environ,
                    "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
                }
                with open(log, "wb") as file:
                    output = {} if number == 0 else {"stdout": file, "stderr": subprocess.STDOUT}
                    processes.append(subprocess.Popen(command, env=environment, **output))
            failed = _wait(processes)
        finally:
            _end(processes)
        if failed is None:
            return 0
        status = processes[failed].returncode
        _report(failed, workers, status, logs[failed])
        return status if status > 0 else 128 - status


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait(processes) -> int | None:
    """Returns the number of the first that fails, or `None` once all have ended well."""
    while True:
        statuses = [process.poll() for process in processes]
        for number, status in enumerate(statuses):
            if status:
                return number
        if all(status == 0 for status in statuses):
            return None
        time.sleep(POLL_SECONDS)


def _end(processes) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _report(number: int, workers: int, status: int, log: pathlib.Path) -> None:
    how = f"failed with exit status {status}"
    if status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
    lines = [f"Worker {number} of {workers} {how}; the others were ended."]
    printed = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if printed:
        lines += ["It printed last:", *(f"  {line}" for line in printed[-SHOWN_LINES:])]
    print("\n".join(lines), file=sys.stderr, flush=True)


class _ended_by_sigterm:
    """Within the block SIGTERM raises `SystemExit`, so that the workers are ended, too."""

    def __enter__(self):
        self._before = None
        try:
            self._before = signal.signal(signal.SIGTERM, _exit)
        except ValueError:  # not in the main thread, where signals can't be handled
            return

    def __exit__(self, *error):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def _exit(number, frame):
    raise SystemExit(128 + number)
