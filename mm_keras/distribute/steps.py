"""What each replica does with its part of a batch, and the metrics of all of them."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mm_keras.distribute.batches import Batches
from mm_keras.distribute.clipping import limits_of_parts, parts_of_sums
from mm_keras.distribute.collectives import sum_of_replicas

Function = Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]


def train_function(model: keras.Model, batches: Batches) -> Function:
    """Returns a function of an iterator and a number of steps, which trains and returns logs.

    Keras scales losses by 1 / N, for N replicas, and sums gradients; a loss of a replica is the
    mean over its n_r samples. With the factor N · n_r / B, B being the batch of all of them, the
    sum is the mean over the batch, for parts of any size: of losses, of what `add_loss` adds, and
    of regularisers, which every replica has.

    A model with a `train_step` of its own gets its parts through that, without the factor.
    """
    own = type(model).train_step is not keras.Model.train_step

    @tf.autograph.experimental.do_not_convert
    def step(data, rows, total):
        if own:
            model.train_step(data)
            return
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        count, share = _share(batches, rows, total)
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            y, predicted, weight = _counted(batches, count, (y, predicted, weight))
            with _loss_of_outputs(model, batches, share):
                loss = model.compute_loss(x, y, predicted, weight, training=True)
            scaled = model.optimizer.scale_loss(loss * tf.cast(share, loss.dtype))
        variables = model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        gradients = _all_or_none_finite(model.optimizer, gradients)
        gradients = parts_of_sums(model.optimizer, gradients)
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        _update_metrics(model, loss, count, (x, y, predicted, weight))

    def limits():
        replicas = 1 if own else batches.workers.strategy.num_replicas_in_sync
        return limits_of_parts(model.optimizer, replicas)

    return _function(model, batches, step, limits)


def test_function(model: keras.Model, batches: Batches) -> Function:
    """Returns a function of an iterator and a number of steps, which evaluates and returns logs."""
    own = type(model).test_step is not keras.Model.test_step

    @tf.autograph.experimental.do_not_convert
    def step(data, rows, total):
        if own:
            model.test_step(data)
            return
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        count, share = _share(batches, rows, total)
        predicted = model(x, training=False)
        y, predicted, weight = _counted(batches, count, (y, predicted, weight))
        with _loss_of_outputs(model, batches, share):
            loss = model.compute_loss(x, y, predicted, weight, training=False)
        _update_metrics(model, loss, count, (x, y, predicted, weight))

    return _function(model, batches, step)


def _function(model, batches, step, around=contextlib.nullcontext) -> Function:
    strategy = batches.workers.strategy

    @tf.autograph.experimental.do_not_convert
    def one(element):
        with around():
            strategy.run(step, args=element)

    @tf.autograph.experimental.do_not_convert
    def logs():
        results = strategy.run(lambda: _result(model, strategy))
        return strategy.experimental_local_results(results)[0]

    if not model.run_eagerly and model.jit_compile:
        one = tf.function(one, jit_compile=True)

    def execute(iterator, steps):
        for _ in tf.range(steps):
            one(next(iterator))
        return logs()

    return execute if model.run_eagerly else tf.function(execute)


def _share(batches, rows, total):
    """Returns how many samples of a replica count, and the factor N · n_r / B of its loss."""
    count = tf.size(rows)
    if batches.even:
        return count, 1.0
    if not batches.divided:
        (total,) = sum_of_replicas([count])
    replicas = batches.workers.strategy.num_replicas_in_sync
    return count, replicas * tf.cast(count, "float32") / tf.cast(tf.maximum(total, 1), "float32")


def _counted(batches, count, tensors):
    """Cuts off the sample that a replica without samples computed on."""
    if batches.even:
        return tensors
    return tf.nest.map_structure(lambda x: None if x is None else x[:count], tensors)


@contextlib.contextmanager
def _loss_of_outputs(model, batches, share):
    """Within the block, what each output's loss adds to its mean counts by the replica's share.

    Keras takes the mean over batches there, however many samples each has.
    """
    totals = []
    if not batches.even:
        firsts = [metric.variables[0] for metric in model.metrics if metric.variables]
        totals = [total for total in firsts if total.path.startswith("compile_loss/")]
    before = [tf.identity(total.value) for total in totals]
    yield
    for total, earlier in zip(totals, before, strict=True):
        total.assign_add((share - 1.0) * (total - earlier))


def _update_metrics(model, loss, count, values):
    # Keras divides a loss by the number of replicas, so that their sum is a mean.
    loss = loss * tf.distribute.get_strategy().num_replicas_in_sync
    for metric in model.metrics:
        if metric.name == "loss":
            metric.update_state(tf.where(count > 0, loss, 0.0), sample_weight=count)
    model.compute_metrics(*values[:3], sample_weight=values[3])


def _all_or_none_finite(optimizer, gradients):
    """Spreads a gradient that is not finite: all replicas must skip the step, or none."""
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    if not several or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return gradients
    finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None]
    bad = tf.cast(tf.logical_not(tf.reduce_all(finite)), "float32")
    (bad,) = sum_of_replicas([bad])
    return [None if g is None else tf.where(bad > 0, g * float("nan"), g) for g in gradients]


def _result(model, strategy):
    """Returns the metrics of all replicas, from the sums of what each has counted."""
    if strategy.num_replicas_in_sync == 1:
        return model.get_metrics_result()
    variables = [variable for metric in model.metrics for variable in metric.variables]
    sums = sum_of_replicas([tf.convert_to_tensor(variable.value) for variable in variables])
    mapping = list(zip(variables, sums, strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        return model.get_metrics_result()
