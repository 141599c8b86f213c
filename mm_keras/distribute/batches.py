"""One dataset for all replicas: every batch is divided among them, none of it lost or doubled."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from mm_keras.distribute.workers import Workers

# What may be given as a dataset: batches, or what makes them for an input pipeline.
Source = tf.data.Dataset | Callable[[tf.distribute.InputContext], tf.data.Dataset]


class Batches:
    """The parts of each batch, for each replica.

    Of a dataset of batches, replica r of N gets the rows r, r + N, r + 2N, … of each, so that
    domains and the like, which are often blocks of a batch, are in all parts. All workers go
    through the same dataset, and so take the same number of steps. A batch of fewer samples than
    replicas leaves some without: these compute on one of its samples, which counts nothing.

    A function gives each input pipeline batches of its own, `B / N` samples each. Pipelines with
    fewer of them start theirs anew, at no weight, until the longest has ended.

    Args:
        workers: Of the strategy.
        source: A dataset, or a function that makes one.
        argument: What messages call it.

    Attributes:
        size: Steps of a pass; `None` if that is not known, or there is no end.
        endless: Whether there is none.
        divided: Whether the batches are of all replicas together.
        even: Whether all parts are known to be of one size.
        element_spec: Of a batch.
    """

    def __init__(self, workers: Workers, source: Source, argument: str = "dataset"):
        self.workers = workers
        self.argument = argument
        self.divided = isinstance(source, tf.data.Dataset)
        if not self.divided and not callable(source):
            raise TypeError(
                f"`{argument}` must be a tf.data.Dataset of batches, or a function that makes one "
                "for a tf.distribute.InputContext. Arrays: pass "
                "tf.data.Dataset.from_tensor_slices((x, y)).batch(32). "
                f"Received: {type(source).__name__}."
            )
        strategy = workers.strategy
        replicas = strategy.num_replicas_in_sync
        self._sizes = []  # of the pipelines of this process
        if self.divided:
            self._inspect(source)
            make = self._parts_of(source, replicas)
        else:
            make = self._own(source, replicas)
        self._distributed = strategy.distribute_datasets_from_function(make)
        self.size, self.endless = self._agree()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._distributed)

    def _inspect(self, dataset):
        self.element_spec = dataset.element_spec
        flat = tf.nest.flatten(dataset.element_spec)
        replicas = self.workers.strategy.num_replicas_in_sync
        for spec in flat:
            if not isinstance(spec, tf.TensorSpec) or spec.shape.rank in (0, None):
                raise ValueError(
                    f"`{self.argument}` must give batches of dense tensors whose rank is known; "
                    f"call its batch(). Received: {spec}."
                )
        rows = flat[0].shape[0]
        self.even = replicas == 1 or (self.divided and rows is not None and not rows % replicas)

    def _parts_of(self, dataset, replicas: int):
        self._sizes = [int(dataset.cardinality())]
        if replicas == 1:
            parts = dataset.map(lambda *batch: _whole(_packed(batch)))
            return lambda context: parts.prefetch(tf.data.AUTOTUNE)

        def make(context):
            local = replicas // context.num_input_pipelines
            first = context.input_pipeline_id * local

            def divide(*batch):
                numbers = tf.data.Dataset.range(first, first + local)
                return numbers.map(lambda r: self._part(_packed(batch), r, replicas))

            return dataset.flat_map(divide).prefetch(tf.data.AUTOTUNE)

        return make

    def _part(self, batch, number, replicas: int):
        """Returns part `number` of a batch, its rows in the batch, and the size of the batch."""
        total = tf.shape(tf.nest.flatten(batch)[0], out_type="int64")[0]
        rows = tf.range(tf.minimum(number, total), total, replicas)
        first = tf.where(tf.size(rows) > 0, number, 0)

        def take(tensor):
            part = tensor[first : tf.where(tf.size(rows) > 0, total, 1) : replicas]
            if self.even:
                part.set_shape((tensor.shape[0] // replicas, *tensor.shape[1:]))
            return part

        return tf.nest.map_structure(take, batch), rows, tf.cast(total, "int32")

    def _own(self, source, replicas: int):
        def make(context):
            dataset = source(context)
            if not isinstance(dataset, tf.data.Dataset):
                raise TypeError(
                    f"`{self.argument}` must return a tf.data.Dataset. "
                    f"Received: {type(dataset).__name__}."
                )
            local = replicas // context.num_input_pipelines
            self._inspect(dataset)
            size = int(dataset.cardinality())
            self._sizes.append(-(-size // local) if size > 0 else size)
            parts = dataset.map(lambda *batch: _whole(_packed(batch)))
            if size > 0:
                again = dataset.repeat().map(lambda *batch: _unweighted(_packed(batch)))
                parts = parts.concatenate(again)
            return parts.prefetch(tf.data.AUTOTUNE)

        return make

    def _agree(self) -> tuple[int | None, bool]:
        own = self._sizes
        sizes = self.workers.exchange(max(own) if min(own) >= 0 else min(own))
        if self.divided and len(set(sizes)) > 1:
            raise ValueError(
                f"`{self.argument}` must be the same on every worker, which divide each batch. "
                f"Received datasets of {sizes} batches (-1: without end, -2: unknown)."
            )
        if 0 in sizes:
            raise ValueError(
                f"`{self.argument}` must have a batch, on every worker. Received: {sizes} batches."
            )
        if min(sizes) > 0:
            return max(sizes), False
        return None, tf.data.INFINITE_CARDINALITY in sizes


class Passes:
    """Passes over batches, each in executions of some steps.

    Args:
        batches: What is gone through.
        steps: Of a pass; `None`: until the end. With a number, a pass goes on where the one
            before ended, as in `Model.fit`.
        together: Steps of an execution.

    Attributes:
        first: Step that the next pass begins with.
    """

    def __init__(self, batches: Batches, steps: int | None, together: int = 1):
        if steps is None and batches.endless:
            raise ValueError(
                f"`{batches.argument}` must have an end, or a number of steps be given: "
                "steps_per_epoch, validation_steps or steps. Received: a dataset that repeats "
                "for ever."
            )
        self.batches = batches
        self.steps = steps
        self.together = together
        self._size = batches.size
        self._iterator = None
        self.first = 0

    @property
    def count(self) -> int | None:
        """Steps of a pass, as far as they are known."""
        return self.steps or self._size

    def __iter__(self) -> Iterator[tuple[int, Any, Any]]:
        """Yields the first step, how many, and the iterator to take the batches from."""
        step, self.first = self.first, 0
        if self._iterator is None or (self.steps is None and not step):
            self._iterator, self._used = iter(self.batches), 0
        while self.count is None or step < self.count:
            if self._size is not None and self._used >= self._size:
                self._ran_out()
                return
            bounds = [self.together if self.count else 1]
            if self.count:
                bounds.append(self.count - step)
            if self._size is not None:
                bounds.append(self._size - self._used)
            number = min(bounds)
            yield step, number, self._iterator
            step += number
            self._used += number
        if self._size is not None and self._used >= self._size:
            self._iterator = None

    def go_to(self, epochs: int, step: int) -> None:
        """Makes the next pass the one after `epochs` passes, from `step` on."""
        if self.steps is None:
            for _ in range(epochs):  # each draws the random numbers of its order
                iter(self.batches)
        elif self._size is not None:
            raise ValueError(
                f"`{self.batches.argument}` must repeat for ever to resume with a number of steps. "
                f"Received: {self._size} batches."
            )
        self.first, self._used = step, step + epochs * (self.steps or 0)
        if self._used:
            self._iterator = iter(self.batches)
            for _ in range(self._used):
                next(self._iterator)

    def end(self, step: int) -> None:
        """Says that the data ended before `step`, which nobody knew."""
        if self.count is not None:
            self._ran_out()
        elif step == 0:
            raise ValueError(f"`{self.batches.argument}` must have a batch. Received: none.")
        self._size = self._size or step if self.steps is None else None
        self._iterator = None

    def _ran_out(self):
        self._iterator = None
        if self.steps:
            warnings.warn(
                f"`{self.batches.argument}` ran out of batches before the {self.steps} steps of a "
                "pass were done: the pass is cut short. Give fewer steps, or repeat() it.",
                stacklevel=4,
            )


def _packed(batch):
    """Returns what `map` unpacked as one element again."""
    return batch[0] if len(batch) == 1 else batch


def _whole(batch):
    total = tf.shape(tf.nest.flatten(batch)[0], out_type="int64")[0]
    return batch, tf.range(total), tf.cast(total, "int32")


def _unweighted(batch):
    return batch, tf.zeros([0], "int64"), tf.constant(0, "int32")
