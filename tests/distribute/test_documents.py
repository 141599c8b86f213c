"""docs/distribute.md and the job files: their code runs, up to the cluster's own commands."""

import json
import pathlib
import re
import stat
import subprocess

import pytest
import yaml

import mm_keras as mm

ROOT = pathlib.Path(__file__).parent.parent.parent
SLURM = ROOT / "examples" / "cluster" / "slurm.sh"
KUBERNETES = ROOT / "examples" / "cluster" / "kubernetes.yaml"


def stub(folder, name):
    """Makes a command that prints its arguments and TF_CONFIG."""
    path = folder / name
    path.write_text('#!/bin/sh\necho "$0 $@"\necho "TF_CONFIG=${TF_CONFIG:-}"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(command, folder, **environment):
    environment = {"PATH": f"{folder}:/usr/bin:/bin", **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_slurm_file_starts_a_worker_for_each_task(tmp_path):
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", SLURM.read_text(), re.MULTILINE))
    assert int(options["nodes"]) * int(options["ntasks-per-node"]) > 1
    assert options["gpus-per-task"] == "1"
    stub(tmp_path, "srun")
    done = run(["bash", str(SLURM), "x.yaml"], tmp_path, SLURM_JOB_ID="123")
    assert done.returncode == 0, done.stderr
    assert "srun --kill-on-bad-exit=1 --wait=60 mm-keras train x.yaml --workers auto" in done.stdout
    assert "usage: sbatch" in run(["bash", str(SLURM)], tmp_path, SLURM_JOB_ID="123").stderr


def test_pods_of_kubernetes_make_their_own_tf_config(tmp_path, monkeypatch):
    service, job = yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 4
    pod = spec["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["WORKERS"] == str(spec["completions"])
    stub(tmp_path, "mm-keras")
    command = [*container["command"], *container["args"]]
    done = run(command, tmp_path, JOB_COMPLETION_INDEX="2", **variables)
    assert done.returncode == 0, done.stderr
    called, config = done.stdout.split("\nTF_CONFIG=")
    assert "train /config/config.yaml --workers auto" in called
    config = json.loads(config)
    port = container["ports"][0]["containerPort"]
    names = [f"mm-keras-{number}.mm-keras:{port}" for number in range(4)]
    assert config == {"cluster": {"worker": names}, "task": {"type": "worker", "index": 2}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert mm.distribute.cluster_workers() == 4


@pytest.mark.slow
def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    page = (ROOT / "docs" / "distribute.md").read_text(encoding="utf-8")
    block, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found = {}
    exec(compile(block, "distribute.md", "exec"), found)
    assert found["model"].history.history["val_accuracy"][0] > 0.3
