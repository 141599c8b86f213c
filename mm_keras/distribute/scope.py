"""A model is made under the scope of the strategy that it is trained with."""

import os

import keras
import tensorflow as tf

from mm_keras.distribute.strategy import cluster_workers
from mm_keras.distribute.workers import Workers

FIX = (
    "strategy = mm.distribute.strategy()\n"
    "    with strategy.scope():\n"
    "        model = mm.build_mcnn(…)\n"
    "        model.compile(…)"
)


def workers_of(model: keras.Model, compiled: bool = True) -> Workers:
    """Returns the workers of the strategy that a model was made under.

    Raises:
        ValueError: If it, or its optimizer and metrics, were not made under one strategy's scope;
            if it is not compiled, though it should be; if there is a cluster that it knows
            nothing of.
        TypeError: If it is no model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"`model` must be built: call it on a batch. Received: {model.name!r}, which is not."
        )
    strategy = model.distribute_strategy
    if tf.distribute.has_strategy() and tf.distribute.get_strategy() is not strategy:
        raise ValueError(
            "`model` must be made under the scope of the strategy that it is used in. Received: "
            f"{model.name!r}, made under another one. Make it so:\n    {FIX}"
        )
    _check_created("`model` must be built", strategy, model.variables)
    if compiled:
        if not model.compiled:
            raise ValueError(
                "`model` must be compiled, under the strategy's scope. "
                f"Received: {model.name!r}, which is not."
            )
        made = [v for metric in model.metrics for v in metric.variables]
        _check_created("`model` must be compiled", strategy, [*made, *model.optimizer.variables])
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        count = cluster_workers() or 1
        if count > 1 and not _is_single_process(strategy):
            where = "TF_CONFIG" if os.environ.get("TF_CONFIG", "").strip() else "Slurm"
            raise ValueError(
                f"`model` must be made under the strategy of the cluster, or each of its {count} "
                f"workers would train a model of its own. Received: {where} with {count} workers, "
                f"and {model.name!r} made under {type(strategy).__name__}. Make it so:\n    {FIX}"
            )
    return Workers(strategy)


def _is_single_process(strategy) -> bool:
    return isinstance(strategy, tf.distribute.TPUStrategy)


def _check_created(what: str, strategy, variables) -> None:
    for variable in variables:
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"{what} under the scope of {type(strategy).__name__}. Received: the variable "
                f"{variable.path!r}, made elsewhere. Make it so:\n    {FIX}"
            )


def create_variables(model: keras.Model, workers: Workers, element_spec, training: bool) -> None:
    """Creates, under the strategy's scope, what Keras would create in the first step."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(
        tf.nest.map_structure(_sample, element_spec)
    )
    with workers.strategy.scope():
        if training:
            model.optimizer.build(model.trainable_variables)
        state = [(variable, variable.value) for variable in model.variables]
        with keras.StatelessScope(state_mapping=state):  # creates variables, and changes none
            predicted = model(x, training=False)
            model.compute_loss(x, y, predicted, weight, training=False)
            model.compute_metrics(x, y, predicted, weight)


def _sample(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([size or 1 for size in spec.shape], spec.dtype)
