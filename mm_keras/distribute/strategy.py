"""The strategy that fits where the program runs."""

import json
import os
from typing import Any

import tensorflow as tf

from mm_keras._checks import check_choice

KINDS = ("auto", "plain", "mirrored", "multi_worker", "slurm", "tpu")
SLURM_PORT = 15432


def strategy(kind: str = "auto", resolver: Any = None) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope a model is built and compiled.

    Call it before anything else that uses TensorFlow: a cluster can't be joined later. `"auto"`
    takes the first of these that applies: workers of `TF_CONFIG`; tasks of a Slurm step
    (`srun`); a TPU that `TPU_NAME` names; all GPUs, where there are several; plain TensorFlow.

    Args:
        kind: `"auto"`; `"plain"`: no distribution; `"mirrored"`: all GPUs of this machine, or
            its CPU; `"multi_worker"`: by `TF_CONFIG`; `"slurm"`; `"tpu"`.
        resolver: Instead: a resolver of `tf.distribute.cluster_resolver`, for Kubernetes or GCE
            say, with `task_type` and `task_id` set; that of a TPU gives a `TPUStrategy`.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: If an argument, or the cluster's settings, don't fit.
        RuntimeError: If TensorFlow was used before a cluster could be joined.

    Example:

    >>> import mm_keras as mm
    >>> strategy = mm.distribute.strategy("plain")
    >>> with strategy.scope():
    ...     model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    ...     model.compile("adam", mm.losses.classification())
    """
    check_choice("kind", kind, KINDS)
    if resolver is not None:
        if kind != "auto":
            raise ValueError(
                "`kind` must be left out where a resolver is given, which says what there is. "
                f"Received: kind={kind!r}."
            )
        if isinstance(resolver, tf.distribute.cluster_resolver.TPUClusterResolver):
            return _tpu(resolver)
        if resolver.task_type is None or resolver.task_id is None:
            raise ValueError(
                "`resolver` must say which worker this is: set its `task_type` ('worker') and "
                f"`task_id`. Received: task_type={resolver.task_type!r}, "
                f"task_id={resolver.task_id!r}."
            )
        return _multi_worker(resolver)
    if kind == "auto":
        kind = _found()
    if kind == "multi_worker":
        if cluster_workers() is None:
            raise ValueError(
                "`kind` must not be 'multi_worker' without a cluster: set TF_CONFIG, pass a "
                "resolver, or start the program by mm.distribute.launch. Received: no TF_CONFIG."
            )
        return _multi_worker(tf.distribute.cluster_resolver.TFConfigClusterResolver())
    if kind == "slurm":
        return _multi_worker(slurm_resolver())
    if kind == "tpu":
        return _tpu(tf.distribute.cluster_resolver.TPUClusterResolver())
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def cluster_workers() -> int | None:
    """Returns how many workers the environment tells of, by `TF_CONFIG` or Slurm; `None`: none.

    Raises:
        ValueError: If `TF_CONFIG` is no JSON of a cluster and a task in it.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if text:
        return _tf_config_workers(text)
    return _slurm_tasks()


def _tf_config_workers(text: str) -> int | None:
    try:
        config = json.loads(text)
        jobs = config.get("cluster", {})
        workers = [*jobs.get("chief", []), *jobs.get("worker", [])]
        if not workers:
            return None
        task = config["task"]
        jobs[task["type"]][int(task["index"])]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {text!r}."
        ) from error
    return len(workers)


def _slurm_tasks() -> int | None:
    """Returns the tasks of a step that `srun` started; an allocation alone starts none."""
    step = os.environ.get("SLURM_STEP_NUM_TASKS")
    return int(step) if step and "SLURM_PROCID" in os.environ and int(step) > 1 else None


def slurm_resolver():
    """Returns the resolver of a Slurm step, whose tasks are the workers.

    Tasks on one node listen on ports from 15432 on, or from `MM_KERAS_PORT`. Each uses the GPUs
    that Slurm shows it: ask for them by --gpus-per-task.
    """
    tasks = _slurm_tasks()
    if tasks is None:
        raise ValueError(
            "`kind` must not be 'slurm' outside a step of several tasks: start the program by "
            "`srun`, with --ntasks of 2 or more. Received: SLURM_PROCID="
            f"{os.environ.get('SLURM_PROCID')}, "
            f"SLURM_STEP_NUM_TASKS={os.environ.get('SLURM_STEP_NUM_TASKS')}."
        )
    # TensorFlow's resolver shares out the GPUs of a node, and fails where there are none: with as
    # many as tasks it leaves that to Slurm.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=int(os.environ.get("MM_KERAS_PORT", SLURM_PORT)),
        gpus_per_node=tasks,
        gpus_per_task=1,
        auto_set_gpu=False,
    )
    resolver.cluster_spec()  # finds out which task this is
    return resolver


def _found() -> str:
    if os.environ.get("TF_CONFIG", "").strip() and cluster_workers() is not None:
        return "multi_worker"
    if _slurm_tasks() is not None:
        return "slurm"
    if os.environ.get("TPU_NAME"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "plain"


def _multi_worker(resolver):
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RuntimeError(
            "mm.distribute.strategy() must be called before anything else that uses TensorFlow, "
            f"a tensor or a model say: a cluster can't be joined later. TensorFlow says: {error}"
        ) from error


def _tpu(resolver):
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
