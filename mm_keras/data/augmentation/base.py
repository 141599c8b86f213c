"""What an augmentation is: a function of a value and a seed."""

from typing import ClassVar

import tensorflow as tf

from mm_keras._checks import check_number


class Augmentation:
    """A random change of one modality of one sample.

    A subclass is a frozen dataclass of its options and implements `__call__`, or
    `with_presence` where it changes which views are there. All its random numbers come from
    stateless ops with the seed that it is given.

    Call arguments:
        value: One sample of the modality, without a batch axis.
        seed: `(2,)`, for `tf.random.stateless_…`.

    Output shape:
        That of `value`, and its dtype.
    """

    ranks: ClassVar[tuple[int, ...]] = ()  # of the values it takes; none: any
    floating: ClassVar[bool | None] = None  # whether they are; None: either
    takes: ClassVar[str] = ""  # what they are, for errors
    together: bool = False  # whether `on_batch` draws for the samples of a batch in one go
    fuses: bool = False  # whether XLA makes one loop of it and of its neighbours that fuse too

    def __call__(self, value: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def with_presence(
        self, value: tf.Tensor, present: tf.Tensor | None, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the changed value and what is present of it afterwards.

        Args:
            value: As for a call.
            present: `(1,)` bool, or `(V,)` for each of V views; `None`: there is no such input.
            seed: As for a call.
        """
        return self(value, seed), present

    def on_batch(self, value: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns changed samples `(B, …)`, each with draws of its own; where `together` is true.

        Whole numbers may come back as fractions, which are rounded after the last of a chain.
        """
        raise NotImplementedError

    def check(self, name: str, value: tf.TensorSpec, present: tf.TensorSpec | None) -> None:
        """Raises a `ValueError` unless this fits the values of a modality."""
        wrong_rank = self.ranks and value.shape.rank not in self.ranks
        wrong_kind = self.floating is not None and value.dtype.is_floating != self.floating
        if wrong_rank or wrong_kind:
            raise ValueError(
                f"`augmentations[{name!r}]` has {type(self).__name__}, which must be given "
                f"{self.takes}. Received: {value.dtype.name} values of shape {tuple(value.shape)}."
            )


def check_share(argument: str, value: float) -> None:
    """Raises unless `value` is a share, in [0, 1]."""
    check_number(argument, value)
    if value > 1:
        raise ValueError(f"`{argument}` must be at most 1. Received: {argument}={value}.")


def check_range(argument: str, low: float, high: float) -> None:
    """Raises unless `low` and `high` are finite numbers in that order."""
    for end, value in ((f"min_{argument}", low), (f"max_{argument}", high)):
        check_number(end, value, minimum=-1e6, below=1e6)
    if low > high:
        raise ValueError(
            f"`min_{argument}` must be at most `max_{argument}`. "
            f"Received: min_{argument}={low}, max_{argument}={high}."
        )
