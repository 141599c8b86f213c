"""Time of training steps, in Keras by `fit` and in PyTorch by the usual loop, from memory.

The data are random, of the right shapes: speed doesn't depend on them. The first steps, in which
graphs are made and compiled, are not timed.
"""

import statistics
import time

import numpy as np

WARM_UP = 5
BATCHES = 8  # as many in memory; then they come again


def random_inputs(shapes, batch, largest, seed=0):
    """Returns `[(n, H, W, C)]` for BATCHES batches, and labels `(n,)`."""
    rng = np.random.default_rng(seed)
    count = BATCHES * batch
    inputs = [rng.uniform(0, largest, (count, *shape)).astype("float32") for shape in shapes]
    return inputs, rng.integers(0, 10, count)


def keras_times(model, inputs, labels, batch, steps, per_execution=1):
    """Returns seconds of each step of `fit`, of `steps` after the warm-up.

    Args:
        model: Compiled, with `steps_per_execution=per_execution`.
        inputs: Arrays, or a dict of them.
        labels: `(n,)`.
        batch: Samples of a step.
        steps: How many to time, a multiple of `per_execution`.
        per_execution: Steps of each call of the graph: their mean is what can be told.
    """
    import tensorflow as tf

    inputs = inputs if isinstance(inputs, dict) else tuple(inputs)
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(batch)
    return fit_times(model, data.repeat().prefetch(2), steps, per_execution)


def fit_times(model, data, steps, per_execution=1):
    """Returns seconds of each step of `fit` on an endless dataset, after a warm-up.

    The arguments are those of `keras_times`. The warm-up is WARM_UP steps, or two executions.
    """
    import keras

    ends = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: ends.append(time.perf_counter())
    )
    warm_up = WARM_UP if per_execution == 1 else 2
    total = warm_up * per_execution + steps
    model.fit(data, steps_per_epoch=total, verbose=0, shuffle=False, callbacks=[clock])
    return list(np.diff(ends[warm_up - 1 :]) / per_execution)


def torch_times(model, optimizer, inputs, labels, batch, steps, clip=None):
    """Returns seconds of each step of the usual loop, of `steps` after the warm-up.

    Batches are slices of tensors, which cost less than a DataLoader.

    Args:
        model: Takes a list of `(B, C, H, W)`, returns logits.
        optimizer: Of its parameters.
        inputs: Tensors, a list.
        labels: `(n,)`.
        batch: Samples of a step.
        steps: How many to time.
        clip: The largest norm of the gradients; `None`: not clipped.
    """
    import torch

    loss_of = torch.nn.CrossEntropyLoss()
    model.train()
    ends = []
    for step in range(WARM_UP + steps):
        start = step % BATCHES * batch
        optimizer.zero_grad()
        logits = model([x[start : start + batch] for x in inputs])
        loss = loss_of(logits, labels[start : start + batch])
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        ends.append(time.perf_counter())
    return list(np.diff(ends[WARM_UP - 1 :]))


def as_tensors(inputs, labels, channels_last=False):
    """Returns NumPy arrays `(n, H, W, C)` as tensors `(n, C, H, W)`, in the layout asked for."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    pictures = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in inputs]
    return [x.contiguous(memory_format=layout) for x in pictures], torch.from_numpy(labels)


def samples_a_second(times, batch):
    """Returns the rate of the median step."""
    return batch / statistics.median(times)
