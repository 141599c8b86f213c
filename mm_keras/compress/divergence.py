"""How far a student's predictions are from a teacher's."""

from typing import NamedTuple

import keras
from keras import ops

KINDS = ("softmax", "sigmoid", "linear")
SUFFIX = "_distillation"
SMALLEST = 1e-37  # the logarithm of what underflows is that of this


class Prediction(NamedTuple):
    """What the numbers of an output are.

    Args:
        kind: `"softmax"`: classes; `"sigmoid"`: independent labels; `"linear"`: numbers.
        logits: Whether they are values before the activation.
    """

    kind: str
    logits: bool


class Divergence(keras.layers.Layer):
    """How far the student's predictions are from the teacher's, for each sample and head.

    Args:
        teacher: Its weights are not this layer's: they are neither trained nor saved.
        student_predictions: `{head: Prediction}`.
        teacher_predictions: `{head: Prediction}`, by the student's heads.
        heads: `{the student's: the teacher's}`.
        temperature: T.

    Call arguments:
        inputs: `{head: (B, C)}` of the student.
        teacher_inputs: `{name: (B, …)}`.

    Output shape:
        `{head + "_distillation": (B, 1)}`.
    """

    def __init__(
        self, teacher, student_predictions, teacher_predictions, heads, temperature, **kwargs
    ):
        super().__init__(autocast=False, dtype="float32", **kwargs)
        self._teacher = lambda: teacher  # a model as an attribute would be a part of this
        self.student_predictions = student_predictions
        self.teacher_predictions = teacher_predictions
        self.heads = heads
        self.temperature = temperature

    def call(self, inputs, teacher_inputs):
        taught = self._teacher()(teacher_inputs, training=False)
        return {
            head + SUFFIX: ops.expand_dims(
                _divergence(
                    _scores(ops.stop_gradient(taught[name]), self.teacher_predictions[head]),
                    _scores(inputs[head], self.student_predictions[head]),
                    self.student_predictions[head].kind,
                    self.temperature,
                ),
                -1,
            )
            for head, name in self.heads.items()
        }

    def compute_output_spec(self, inputs, teacher_inputs):
        return {
            head + SUFFIX: keras.KerasTensor((x.shape[0], 1), dtype="float32")
            for head, x in inputs.items()
        }


def _scores(values, prediction: Prediction):
    """Returns logits (of classes, up to a constant), or the numbers themselves."""
    values = ops.cast(values, "float32")
    if prediction.logits or prediction.kind == "linear":
        return values
    if prediction.kind == "softmax":
        return ops.log(ops.maximum(values, SMALLEST))
    return ops.log(ops.maximum(values, SMALLEST)) - ops.log(ops.maximum(1.0 - values, 1e-7))


def _divergence(taught, scores, kind: str, temperature: float):
    """Returns `(B,)`: T² times the divergence of softened predictions, or the squared difference.

    It is summed over classes and averaged over independent labels and numbers, as Keras' losses
    are that it stands beside.
    """
    if kind == "linear":
        return ops.mean(ops.square(taught - scores), axis=-1)
    taught, scores = taught / temperature, scores / temperature
    if kind == "softmax":
        logs, student_logs = ops.log_softmax(taught, axis=-1), ops.log_softmax(scores, axis=-1)
        return temperature**2 * ops.sum(ops.exp(logs) * (logs - student_logs), axis=-1)
    terms = [
        ops.sigmoid(sign * taught)
        * (ops.log_sigmoid(sign * taught) - ops.log_sigmoid(sign * scores))
        for sign in (1.0, -1.0)
    ]
    return temperature**2 * ops.mean(sum(terms), axis=-1)
