"""Which strategy fits where a program runs."""

import json

import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.distribute.strategy import slurm_resolver

VARIABLES = ("TF_CONFIG", "TPU_NAME", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[01-02]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
CLUSTER = {"worker": ["a:1", "b:1"]}
WORKER = {"type": "worker", "index": 1}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_anything_it_is_plain():
    assert mm.distribute.strategy() is tf.distribute.get_strategy()
    assert mm.distribute.strategy("plain") is tf.distribute.get_strategy()
    assert mm.distribute.cluster_workers() is None


def test_mirrored_takes_the_devices_of_this_machine():
    found = mm.distribute.strategy("mirrored")
    assert isinstance(found, tf.distribute.MirroredStrategy)
    assert found.num_replicas_in_sync == max(1, len(tf.config.list_logical_devices("GPU")))


def test_tf_config_counts_chief_and_workers(monkeypatch):
    config = {"cluster": {**CLUSTER, "chief": ["c:1"], "ps": ["d:1"]}, "task": WORKER}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert mm.distribute.cluster_workers() == 3


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"cluster": CLUSTER}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}),
    ],
)
def test_a_tf_config_that_does_not_fit_is_shown(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON such as"):
        mm.distribute.strategy()


def test_tasks_of_slurm_are_workers(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MM_KERAS_PORT", "9000")
    assert mm.distribute.cluster_workers() == 4
    resolver = slurm_resolver()
    hosts = ["gpu01:9000", "gpu01:9001", "gpu02:9000", "gpu02:9001"]
    assert resolver.cluster_spec().as_dict() == {"worker": hosts}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)


def test_an_allocation_of_slurm_without_a_step_is_no_cluster(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert mm.distribute.cluster_workers() is None
    with pytest.raises(ValueError, match="start the program by `srun`"):
        mm.distribute.strategy("slurm")


def test_errors_say_what_is_missing():
    with pytest.raises(ValueError, match="Did you mean 'mirrored'"):
        mm.distribute.strategy("miror")
    with pytest.raises(ValueError, match="`kind` must not be 'multi_worker' without a cluster"):
        mm.distribute.strategy("multi_worker")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(CLUSTER), task_type=None, task_id=None
    )
    with pytest.raises(ValueError, match="`resolver` must say which worker this is"):
        mm.distribute.strategy(resolver=resolver)
    with pytest.raises(ValueError, match="`kind` must be left out where a resolver is given"):
        mm.distribute.strategy("slurm", resolver)


def test_a_cluster_cannot_be_joined_once_tensorflow_was_used(monkeypatch):
    tf.constant(1)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(CLUSTER), task_type="worker", task_id=1, rpc_layer="grpc"
    )
    with pytest.raises(RuntimeError, match="must be called before anything else that uses"):
        mm.distribute.strategy(resolver=resolver)
