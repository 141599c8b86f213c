"""What a model predicts: classes, several labels at once, or numbers."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import ClassVar

import keras

from mm_keras._checks import check_int, check_names
from mm_keras.losses import classification


@dataclasses.dataclass(frozen=True)
class Head:
    """A dense layer on the fused features, in float32 whatever the dtype policy.

    Args:
        units: Number of outputs.
        logits: Whether the output is the layer's values as they are, without an activation; the
            loss then takes `from_logits=True`.
    """

    units: int
    _: dataclasses.KW_ONLY
    logits: bool = False

    activation: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        check_int("units", self.units)

    def make_loss(self) -> keras.losses.Loss:
        """Returns the usual loss of such a head."""
        raise NotImplementedError

    def __call__(self, features, name: str):
        """Returns the output `(B, units)` named `name`."""
        return self.activate(self.score(features, name), name)

    def score(self, features, name: str):
        """Returns the values before the activation, `(B, units)`."""
        return keras.layers.Dense(self.units, dtype="float32", name=f"{name}_logits")(features)

    def activate(self, scores, name: str):
        """Returns the output `(B, units)` named `name` of what `score` returned."""
        activation = None if self.logits else self.activation
        return keras.layers.Activation(activation or "linear", dtype="float32", name=name)(scores)


@dataclasses.dataclass(frozen=True)
class Classification(Head):
    """One of several classes: softmax."""

    activation: ClassVar[str | None] = "softmax"

    def make_loss(self) -> keras.losses.Loss:
        return classification(from_logits=self.logits)


@dataclasses.dataclass(frozen=True)
class MultiLabel(Head):
    """Any number of labels at once: a sigmoid for each."""

    activation: ClassVar[str | None] = "sigmoid"

    def make_loss(self) -> keras.losses.Loss:
        return keras.losses.BinaryCrossentropy(from_logits=self.logits)


@dataclasses.dataclass(frozen=True)
class Regression(Head):
    """Numbers: no activation."""

    def make_loss(self) -> keras.losses.Loss:
        return keras.losses.MeanSquaredError()


def check_heads(
    num_classes: int | Head | Mapping[str, int | Head], modalities: Iterable[str] = ()
) -> dict[str, Head]:
    """Returns `{name: head}` of the builder argument `num_classes`; one head is named `label`.

    Args:
        num_classes: A number of classes, a head, or a dict of either.
        modalities: Names that a head can't have, since a modality has it.
    """
    if not isinstance(num_classes, Mapping):
        num_classes = {"label": num_classes}
    if not num_classes:
        raise ValueError("`num_classes` must have at least one head. Received: {}.")
    check_names("num_classes", num_classes)
    taken = sorted(set(num_classes) & set(modalities))
    if taken:
        raise ValueError(
            "`num_classes` must not name a head as a modality is named: layers have one name each. "
            f"Received for both: {taken}. Rename the modality, or pass {{'another_name': …}}."
        )
    heads = {}
    for name, head in num_classes.items():
        if not isinstance(head, Head):
            check_int("num_classes", head)
            head = Classification(int(head))
        if isinstance(head, Classification) and head.units == 1:
            raise ValueError(
                "`num_classes` must be at least 2: a softmax over one class is always 1. For yes "
                "or no pass 2, or mm.MultiLabel(1), a sigmoid; for one number, mm.Regression(1). "
                f"Received: 1 class for {name!r}."
            )
        heads[name] = head
    return heads
