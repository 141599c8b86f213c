"""A training that is killed at any moment ends as one that nobody interrupted."""

import json
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest

from tests.distribute.interrupted import MOMENTS, train

KILLS = 20
# A server that has imported everything, and that each process is a copy of.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.distribute.interrupted", "mm_keras.distribute"])


def start(folder):
    counts = PROCESSES.Array("i", len(MOMENTS), lock=False)
    process = PROCESSES.Process(target=train, args=(str(folder), counts))
    process.start()
    return process, counts


def is_writing(folder):
    try:
        return any(name.startswith(".epoch-") for name in os.listdir(folder / "checkpoints"))
    except FileNotFoundError:
        return False


def kill_in(moment, number, delay, folder):
    """Kills a training in the moment that comes `number`th; returns whether it got that far."""
    process, counts = start(folder)
    written = 0
    writing = False
    while process.is_alive():
        if moment == "write":
            before, writing = writing, is_writing(folder)
            written += writing and not before
            if written >= number:
                break
        elif counts[MOMENTS.index(moment)] >= number:
            break
        time.sleep(0.0002)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def results(folder):
    with np.load(folder / "weights.npz") as weights:
        return dict(weights), json.loads((folder / "history.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_twenty_kills_change_no_bit(tmp_path):
    undisturbed, _ = start(tmp_path / "undisturbed")
    undisturbed.join()
    assert undisturbed.exitcode == 0
    expected, history = results(tmp_path / "undisturbed")
    assert len(history["val_loss"]) == 7
    assert len(set(history["learning_rate"])) > 1  # a callback with a memory did something

    folder, draw, left = tmp_path / "killed", random.Random(0), 0
    plan = ["step"] * 9 + ["write"] * 7 + ["validation"] * 4
    draw.shuffle(plan)
    for moment in plan:
        number = {"step": draw.randint(1, 6), "write": 1, "validation": draw.randint(1, 8)}[moment]
        delay = 0 if moment == "write" else draw.uniform(0, 0.01)
        assert kill_in(moment, number, delay, folder), f"It ended before the {moment} to kill in."
        left += is_writing(folder)
    assert left > 0  # files half written, that is
    last, _ = start(folder)
    last.join()
    assert last.exitcode == 0
    found, history_found = results(folder)
    assert history_found == history
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
