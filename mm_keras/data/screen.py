"""Bad records among samples that come as tensors: looked for, reported, and dealt with."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT
from mm_keras.data.bad_records import BadRecord, BadRecords, error_of
from mm_keras.data.elements import clear_absent
from mm_keras.modalities import Modality, Text

NOT_FINITE, EMPTY, DAMAGED = "NaN or infinity", "an empty text", "bytes of another length"
LABELS = "labels"


class Screen:
    """Applies `on_error` to batches of numbered samples.

    Args:
        modalities: `{name: spec}`.
        policies: `{name: "raise", "absent" or "drop"}`.
        label_policy: `"raise"` or `"drop"`, of labels and weights.
        report: Receives what is bad and does not raise.
        origin: Names the data in messages.
        place: From the number of a sample and a modality to the file or feature that it is in.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        policies: Mapping[str, str],
        label_policy: str,
        report: BadRecords,
        origin: str,
        place: Callable[[int, str], str],
    ):
        self.modalities = dict(modalities)
        self.policies = {**policies, LABELS: label_policy}
        self.report, self.origin, self.place = report, origin, place

    @property
    def drops(self) -> bool:
        """Whether samples may be left out."""
        return "drop" in self.policies.values()

    def __call__(
        self, numbers: tf.Tensor, element: tuple, damaged: Mapping[str, tf.Tensor] | None = None
    ) -> tuple:
        """Returns a batch without what is bad in it.

        Args:
            numbers: `(B,)`: which samples these are, from 0.
            element: `(inputs, labels[, weights])`.
            damaged: `{name: (B,) bool}`: what could not be read, in place of which zeros stand.
        """
        inputs = dict(element[0])
        reasons, wrong = [], []  # the first reason of a modality counts
        for name, found in self._found(inputs, element[1:], damaged or {}):
            reasons.append((name, found[0]))
            wrong.append(found[1])
        if not wrong:  # whole numbers throughout, which are always good
            return element
        wrong = tf.stack(wrong, axis=1)

        def judged() -> tf.Tensor:
            def judge(numbers: np.ndarray, wrong: np.ndarray) -> np.bool_:
                self._judge(numbers, wrong, reasons)
                return np.bool_(True)

            return tf.numpy_function(judge, [numbers, wrong], tf.bool)

        with tf.control_dependencies(
            [tf.cond(tf.reduce_any(wrong), judged, lambda: tf.constant(True))]
        ):
            wrong = tf.identity(wrong)
        lost = {
            name: tf.reduce_any(
                tf.gather(
                    wrong, [n for n, (other, _) in enumerate(reasons) if other == name], axis=1
                ),
                axis=1,
            )
            for name in dict.fromkeys(name for name, _ in reasons)
        }
        for name in self.modalities:
            if name in lost and name + PRESENT in inputs:
                present = inputs[name + PRESENT] & ~lost[name][:, None]
                inputs[name] = clear_absent(inputs[name], present)
                inputs[name + PRESENT] = present
        element = (inputs, *element[1:])
        dropped = [mask for name, mask in lost.items() if self.policies[name] == "drop"]
        if not dropped:
            return element
        keep = ~tf.reduce_any(tf.stack(dropped, axis=1), axis=1)
        return keras.tree.map_structure(lambda part: tf.boolean_mask(part, keep), element)

    def _found(self, inputs, others, damaged):
        """Yields `(name, (reason, (B,) bool))`."""
        for name, spec in self.modalities.items():
            value, present = inputs[name], inputs.get(name + PRESENT)
            there = True if present is None else tf.reduce_any(present, axis=-1)
            if name in damaged:
                yield name, (DAMAGED, damaged[name] & there)
            if value.dtype.is_floating:
                yield name, (NOT_FINITE, ~_finite(value) & there)
            elif isinstance(spec, Text):
                empty = ~tf.reduce_any(value != 0, axis=1)
                yield name, (EMPTY, empty & there & ~damaged.get(name, tf.zeros_like(empty)))
        if LABELS in damaged:
            yield LABELS, (DAMAGED, damaged[LABELS])
        for part in keras.tree.flatten(others):
            if part.dtype.is_floating:
                yield LABELS, (NOT_FINITE, ~_finite(part))

    def _judge(self, numbers: np.ndarray, wrong: np.ndarray, reasons) -> None:
        for at, column in zip(*np.nonzero(wrong), strict=True):
            name, reason = reasons[column]
            number, policy = int(numbers[at]), self.policies[name]
            place = self.place(number, name)
            record = BadRecord(self.origin, number, None, name, place, reason, policy)
            if policy == "raise":
                raise error_of(record, self.policies, self.modalities.get(name), numbered=False)
            self.report.add(record)


def _finite(value: tf.Tensor) -> tf.Tensor:
    """Returns which samples `(B, …)` have no NaN and no infinity."""
    flat = tf.reshape(value, (tf.shape(value)[0], -1))
    return tf.reduce_all(tf.math.is_finite(flat), axis=1)
