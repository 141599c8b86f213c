"""Processes of this machine: what they get, and what happens when one of them dies."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import mm_keras as mm
from mm_keras.cli import main


def python(code):
    return [sys.executable, "-c", code]


def test_each_worker_gets_its_number_and_addresses_of_all(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    code = f"""
import json, os, pathlib
config = json.loads(os.environ["TF_CONFIG"])
config["threads"] = os.environ["TF_NUM_INTRAOP_THREADS"]
path = pathlib.Path({str(tmp_path)!r}) / str(config["task"]["index"])
path.write_text(json.dumps(config))
"""
    assert mm.distribute.launch(python(code), 3) == 0
    found = [json.loads((tmp_path / str(number)).read_text()) for number in range(3)]
    assert [one["task"] for one in found] == [{"type": "worker", "index": n} for n in range(3)]
    addresses = found[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert all(one["cluster"] == found[0]["cluster"] for one in found)
    assert found[0]["threads"] == str(max(1, os.cpu_count() // 3))


FAILING = """
import json, os, signal, sys, time
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    print("no such file: x.csv", flush=True)
    {how}
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("sys.exit(3)", 3, "Worker 1 of 2 failed with exit status 3; the others were ended."),
        (
            "os.kill(os.getpid(), 9)",
            137,
            "Worker 1 of 2 was killed by SIGKILL; the others were ended.",
        ),
    ],
)
def test_a_failed_worker_ends_the_others(capsys, how, status, message):
    start = time.monotonic()
    assert mm.distribute.launch(python(FAILING.format(how=how)), 2) == status
    assert time.monotonic() - start < 6
    printed = capsys.readouterr().err
    assert message in printed
    assert "It printed last:\n  no such file: x.csv" in printed


def test_a_worker_that_ignores_sigterm_is_killed():
    code = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    time.sleep(0.5)
    sys.exit(1)
time.sleep(60)
"""
    start = time.monotonic()
    assert mm.distribute.launch(python(code), 2) == 1
    assert 5 < time.monotonic() - start < 10


@pytest.mark.slow
def test_the_workers_end_with_their_launcher(tmp_path):
    code = f"""
import os, pathlib, time
(pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()
time.sleep(60)
"""
    launcher = python(f"import mm_keras as mm, sys; mm.distribute.launch({python(code)!r}, 2)")
    with subprocess.Popen(launcher) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    numbers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(numbers) == 2
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`workers` must be an integer of at least 1"):
        mm.distribute.launch(python(""), 0)
    with pytest.raises(FileNotFoundError):
        mm.distribute.launch(["/no/such/program"], 2)


CONFIG = """
modalities:
  a: {{type: Features, shape: 6}}
builder: {{name: build_mcnn, num_classes: 3, width: 4}}
dataset: {{type: arrays, path: {path}, labels: y, batch_size: 8,
          fractions: {{train: 0.6, validation: 0.2, test: 0.2}}}}
fit: {{epochs: 1}}
output: {output}
"""


@pytest.mark.slow
def test_the_command_trains_in_two_processes_as_in_one(tmp_path, capfd):
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    features = (rng.normal(size=(60, 6)) + labels[:, None]).astype("float32")
    np.savez(tmp_path / "data.npz", a=features, y=labels)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(path=tmp_path / "data.npz", output=tmp_path / "one"))
    assert main(["train", str(config)]) == 0
    capfd.readouterr()
    assert main(["train", str(config), "--workers", "2", "--output", str(tmp_path / "two")]) == 0
    printed = capfd.readouterr().out
    assert printed.count("Written to") == 1
    reports = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("one", "two")]
    one, two = (report["models"][0] for report in reports)
    for name, values in one["history"].items():
        assert two["history"][name] == pytest.approx(values, abs=1e-5)
    assert two["test"] == pytest.approx(one["test"], abs=1e-5)
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("one", "two")]
    assert names[0] == names[1]


def test_the_command_needs_as_many_workers_as_the_cluster_has(monkeypatch, capsys):
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    for arguments in ([], ["--workers", "3"]):
        assert main(["train", "config.yaml", *arguments]) == 2
        assert "`--workers` must be 2, as TF_CONFIG or Slurm says" in capsys.readouterr().err
