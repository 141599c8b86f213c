"""`mm-keras train --resume`, after a real SIGKILL."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from mm_keras.cli import main


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 4)).astype("float32") + y[:, None]
    part = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10)
    np.savez(tmp_path / "data.npz", x=x, y=y, part=part)
    described = {
        "modalities": {"a": {"type": "Features", "shape": 4}},
        "builder": {"num_classes": 2, "width": 4},
        "dataset": {
            "type": "arrays",
            "path": str(tmp_path / "data.npz"),
            "inputs": {"a": "x"},
            "labels": "y",
            "split": "part",
            "batch_size": 8,
        },
        "fit": {"epochs": 100_000, "checkpoint_steps": 2},
        "output": str(tmp_path / "out"),
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    return path


def rewrite(path, **fit):
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    described["fit"] |= fit
    path.write_text(yaml.safe_dump(described), encoding="utf-8")


def children(process):
    """Returns the numbers of the processes that a process has started, oldest first."""
    number = str(process.pid)
    found = pathlib.Path("/proc", number, "task", number, "children").read_text()
    return [int(child) for child in found.split()]


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/task").is_dir(), reason="needs Linux' /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on(config, tmp_path, capsys, workers):
    """Of two workers the second alone is killed: the first and the launcher then end too."""
    if workers > 1:
        rewrite(config, checkpoint_steps=None)
    folder = tmp_path / "out" / "checkpoints"
    several = ["--workers", "2"] if workers > 1 else []
    command = [sys.executable, "-m", "mm_keras", "train", str(config), *several]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 300
        while not any("epoch-000002" in path.name for path in folder.glob("*.checkpoint")):
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if workers > 1:
            os.kill(children(killed)[1], signal.SIGKILL)
            assert killed.wait(15) == 128 + signal.SIGKILL
            assert b"Worker 1 of 2 was killed by SIGKILL" in killed.stderr.read()
    finally:
        killed.kill()
        killed.wait()
        killed.stderr.close()
    left = sorted(folder.glob("*.checkpoint"))
    assert 2 <= len(left) <= 4  # the fourth, if it was killed before it removed the first

    assert main(["train", str(config)]) == 2
    assert f"`--resume` must be given to go on with the interrupted run in {tmp_path}" in " ".join(
        capsys.readouterr().err.split()
    )
    rewrite(config, callbacks={"EarlyStopping": {"patience": 1}})
    assert main(["train", str(config), "--resume"]) == 2
    assert "`--resume` must have the file that the run began with" in capsys.readouterr().err
    assert sorted(folder.glob("*.checkpoint")) == left

    config.write_text((folder / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    reached = int(left[-1].name.split("-")[1])
    rewrite(config, epochs=reached + 2)
    assert main(["train", str(config), "--resume", *several]) == 0
    written = json.loads(pathlib.Path(tmp_path / "out" / "metrics.json").read_text())
    history = written["models"][0]["history"]
    assert len(history["loss"]) == len(history["val_loss"]) == reached + 2
    assert not folder.exists()
    assert (tmp_path / "out" / "model.keras").is_file()
