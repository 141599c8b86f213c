"""The processes that train one model together, and what they agree on."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from mm_keras.distribute.collectives import sum_of_replicas

LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class WorkerLost(ConnectionError):
    """Another worker of the cluster has died or can't be reached: the job can't go on."""


class Workers:
    """The processes behind a strategy: one, but for `MultiWorkerMirroredStrategy`.

    Every method but the properties must be called by all workers, in the same order: each waits
    for the others.

    Args:
        strategy: Any `tf.distribute.Strategy`.

    Attributes:
        count: How many processes there are.
        rank: Number of this one, from 0.

    Example:

    >>> import tensorflow as tf
    >>> import mm_keras as mm
    >>> workers = mm.distribute.Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.is_chief, workers.exchange(7)
    (1, True, [7])
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.count, self.rank = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            jobs = resolver.cluster_spec().as_dict()
            chiefs = len(jobs.get("chief", ()))
            self.count = max(1, chiefs + len(jobs.get("worker", ())))
            if self.count > 1:
                self.rank = resolver.task_id + (0 if resolver.task_type == "chief" else chiefs)
        self._sum = tf.function(self._sum_of_replicas, autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this is the one worker that writes files and prints."""
        return self.rank == 0

    def exchange(self, value: int) -> list[int]:
        """Returns every worker's value, by rank; it serves as a barrier, too."""
        if self.count == 1:
            return [value]
        row = np.zeros(self.count, "int64")
        row[self.rank] = value
        with self.reporting_loss():
            total = self._sum(tf.constant(row)).numpy()
        local = self.strategy.num_replicas_in_sync // self.count  # each replica gave the row
        return (total // local).tolist()

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Lets the others enter the block once the chief has left it.

        If the chief fails in it, the others learn of that by its end.
        """
        if not self.is_chief:
            self.exchange(0)
        yield
        if self.is_chief:
            self.exchange(0)

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is true on any worker."""
        return any(self.exchange(int(flag)))

    def _sum_of_replicas(self, row):
        rows = self.strategy.run(lambda: tf.identity(row))
        return self.strategy.reduce("SUM", rows, axis=None)

    def sharing(self, variables: Sequence[keras.Variable]) -> Callable[[], None]:
        """Returns what gives all replicas of all workers the chief's values of variables."""
        return self._agreement(variables, mean=False)

    def averaging(self, variables: Sequence[keras.Variable]) -> Callable[[], None]:
        """Returns what gives variables the mean of all replicas of all workers.

        Integers are left alone, and where all have one value, it stays as it is to the last bit.
        """
        floats = [v for v in variables if v.dtype.startswith(("float", "bfloat"))]
        return self._agreement(floats, mean=True)

    def _agreement(self, variables, mean: bool) -> Callable[[], None]:
        strategy = self.strategy
        replicas = strategy.num_replicas_in_sync
        variables = [variable.value for variable in variables]
        if replicas == 1 or not variables:
            return lambda: None

        def agreed():
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0)
            own = [tf.convert_to_tensor(variable) for variable in variables]
            chief = sum_of_replicas([tf.where(first, x, tf.zeros_like(x)) for x in own])
            if not mean:
                return chief
            differences = sum_of_replicas([x - y for x, y in zip(own, chief, strict=True)])
            return [x + y / replicas for x, y in zip(chief, differences, strict=True)]

        @tf.function(autograph=False)
        def assign():
            for variable, value in zip(variables, strategy.run(agreed), strict=True):
                strategy.extended.update(variable, lambda v, x: v.assign(x), args=(value,))

        return assign

    @contextlib.contextmanager
    def reporting_loss(self) -> Iterator[None]:
        """Raises `WorkerLost`, with what to do, where TensorFlow reports a lost connection."""
        try:
            yield
        except LOST as error:
            if self.count == 1:
                raise
            raise WorkerLost(
                f"Worker {self.rank} of {self.count} stops, since another worker of the cluster "
                "has died or can't be reached: see that one's log for the cause, then start all "
                "workers again. A callback such as keras.callbacks.BackupAndRestore lets them go "
                f"on from the last checkpoint. TensorFlow says: {_last_line(error)}"
            ) from error


def _last_line(error: tf.errors.OpError) -> str:
    lines = [line.strip() for line in str(error.message).splitlines() if line.strip()]
    told = [line for line in lines if "/job:" in line] or lines
    return told[0][:300] if told else type(error).__name__
