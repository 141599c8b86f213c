"""Distillation: a small student learns what a multimodal teacher says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mm_keras._checks import check_choice, check_number, check_positive
from mm_keras._graphs import all_layers
from mm_keras.compress.divergence import KINDS, SUFFIX, Divergence, Prediction
from mm_keras.compress.fine_tuning import check_training, compile_arguments
from mm_keras.data import labels_for_outputs


def distil(
    student: keras.Model,
    teacher: keras.Model,
    train: tf.data.Dataset,
    *,
    epochs: int = 10,
    temperature: float = 3.0,
    hard_weight: float = 0.3,
    heads: Iterable[str] | Mapping[str, str] | None = None,
    compile: Mapping[str, Any] | None = None,
    validation_data: tf.data.Dataset | None = None,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> keras.Model:
    """Trains a student on labels and on the predictions of a teacher that may see more.

    The teacher sees its modalities, the student its own: a student of the sound alone learns from a
    teacher that also saw the picture. The loss of a head is `h L + (1 − h) T² KL(p_t ‖ p_s)`, where
    L is the student's own loss, h is `hard_weight`, and both distributions are softened by the
    temperature T. Labels that are independent have the mean of their Bernoulli divergences, numbers
    the squared difference, without a temperature. Sample weights count for both parts.

    The teacher predicts on the fly, what the student learns from, with the same augmentation
    (Beyer 2022). Neither its weights nor its statistics change. The student is trained where it
    is, as by `fit`, and stays the plain graph it was, compiled as before; its `history` is that of
    this training, in which metrics have the names of heads before them (`"label_accuracy"`), and
    `"<head>_distillation_loss"` is the divergence. Callbacks see a model of the student and that.

    (`keras.distillation.Distiller` gives teacher and student the same inputs, and its losses are
    means, which sample weights do not reach.)

    Args:
        student: A functional `keras.Model` with dicts of inputs and outputs.
        teacher: Likewise, trained. Inputs that both have are fed to both.
        train: Batches of `({name: array}, labels)`, or with sample weights, with the inputs of
            both.
        epochs: Number of passes.
        temperature: T, above 0: above 1 it shows how classes resemble each other.
        hard_weight: h, from 0 (the teacher alone) to 1 (labels alone).
        heads: Outputs that both have; or `{the student's: the teacher's}`. `None`: all of one name
            that the student is compiled with a loss for. Other outputs learn from labels alone.
        compile: Arguments of `compile` for this training. Those left out are as the student is
            compiled.
        validation_data: As `train`.
        steps_per_epoch: Of `train`, where its length is unknown.
        callbacks: Keras callbacks; for a progress bar in one line pass `mm.training.ProgressBar()`
            and `verbose=0`.
        verbose: As for `fit`.

    Returns:
        The student.

    Raises:
        TypeError, ValueError: If an argument does not fit, before any training.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> teacher = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> student = mm.build_mcnn({"a": mm.Features(4)}, 2, width=8)
    >>> student.compile("adam", mm.losses.classification())
    >>> x = {"a": np.zeros((6, 4), "float32"), "b": np.zeros((6, 3), "float32")}
    >>> train = tf.data.Dataset.from_tensor_slices((x, [0, 1, 0, 1, 0, 1])).batch(3)
    >>> mm.compress.distil(student, teacher, train, epochs=1, verbose=0) is student
    True

    Reference: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015; Beyer
    et al., Knowledge Distillation: A Good Teacher Is Patient and Consistent, 2022.
    """
    for argument, model in (("student", student), ("teacher", teacher)):
        _check_model(argument, model)
    check_positive("temperature", temperature)
    check_number("hard_weight", hard_weight)
    if hard_weight > 1:
        raise ValueError(f"`hard_weight` must be at most 1. Received: hard_weight={hard_weight}.")
    arguments = compile_arguments(student, compile)
    losses = _losses(student, arguments["loss"])
    pairs = _check_heads(heads, student, teacher, losses)
    divergence = Divergence(
        teacher,
        {head: _prediction("student", student, head, losses[head]) for head in pairs},
        {head: _prediction("teacher", teacher, name) for head, name in pairs.items()},
        pairs,
        temperature,
        name="divergence",
    )
    trainer = _trainer(student, teacher, divergence, losses)
    data = [
        None if given is None else _with_targets(argument, given, student, trainer, losses, pairs)
        for argument, given in (("train", train), ("validation_data", validation_data))
    ]
    trainer.compile(**_for_trainer(arguments, losses, pairs, hard_weight))
    check_training(trainer, *data, epochs, steps_per_epoch)
    student.history = trainer.fit(
        data[0],
        validation_data=data[1],
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        shuffle=False,  # a dataset shuffles itself
        callbacks=list(callbacks),
        verbose=verbose,
    )
    return student


def _check_model(argument: str, model: Any) -> None:
    graph = isinstance(model, keras.Model) and hasattr(model, "operations")
    if not graph or not isinstance(model.input, dict) or not isinstance(model.output, dict):
        raise TypeError(
            f"`{argument}` must be a functional keras.Model with dicts of inputs and outputs, as a "
            f"builder's model has. Received: {model!r} of type {type(model).__name__}."
        )


def _losses(student: keras.Model, loss: Any) -> dict[str, Any]:
    """Returns `{output: loss}` of the outputs that have one."""
    if not isinstance(loss, Mapping):
        return dict.fromkeys(student.output, keras.losses.get(loss))
    for name in loss:
        check_choice("compile, its loss,", name, sorted(student.output))
    return {name: keras.losses.get(one) for name, one in loss.items() if one is not None}


def _check_heads(heads, student, teacher, losses) -> dict[str, str]:
    """Returns `{the student's head: the teacher's}`."""
    if heads is None:
        heads = {name: name for name in losses if name in teacher.output}
        if not heads:
            raise ValueError(
                "`heads` must map outputs of the student to those of the teacher where none has "
                f"the same name, e.g. {{'label': 'label'}}. Received: heads=None, {sorted(losses)} "
                f"of the student, {sorted(teacher.output)} of the teacher."
            )
    elif not isinstance(heads, Mapping):
        if isinstance(heads, str) or not isinstance(heads, Iterable):
            raise TypeError(
                "`heads` must be names of outputs, or {the student's: the teacher's}. "
                f"Received: heads={heads!r}."
            )
        heads = {name: name for name in heads}
    for head, name in heads.items():
        check_choice("heads", head, sorted(losses))
        check_choice("heads, of the teacher,", name, sorted(teacher.output))
        shapes = student.output[head].shape[1:], teacher.output[name].shape[1:]
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise ValueError(
                "`heads` must be outputs (B, C) with one number of units. Received: "
                f"{head!r} of shape {student.output[head].shape}, and the teacher's {name!r} of "
                f"shape {teacher.output[name].shape}."
            )
    return dict(heads)


def _prediction(argument: str, model: keras.Model, head: str, loss: Any = None) -> Prediction:
    """Returns what an output is, by the activation of its last layer and the student's loss."""
    names = dict(zip(sorted(model.output), model.output_names, strict=True))
    layer = next((one for one in all_layers(model) if one.name == names[head]), None)
    activation = getattr(layer, "activation", None)
    kind = activation if isinstance(activation, str) else getattr(activation, "__name__", None)
    if isinstance(layer, keras.layers.Softmax):
        kind = "softmax"
    if kind not in KINDS:
        raise ValueError(
            f"`{argument}` must have softmax, sigmoid or no activation at the end of the output "
            f"{head!r}: add keras.layers.Activation. Received: the layer {names[head]!r}, "
            f"activation {kind!r}."
        )
    if kind == "linear" and getattr(loss, "from_logits", False):
        binary = isinstance(
            loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy
        )
        return Prediction("sigmoid" if binary else "softmax", True)
    return Prediction(kind, getattr(layer, "logits", False))


def _trainer(student, teacher, divergence, losses) -> keras.Model:
    """Returns the graph that is trained: the student, and how far it is from the teacher."""
    inputs = {}
    for argument, model in (("student", student), ("teacher", teacher)):
        for name, tensor in model.input.items():
            new = inputs.setdefault(
                name, keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
            )
            if new.shape != tensor.shape or new.dtype != tensor.dtype:
                raise ValueError(
                    f"`{argument}` must take what the other takes under one name; give the input "
                    f"another name. Received: {name!r} of shape {tensor.shape} and {tensor.dtype}, "
                    f"the other's of shape {new.shape} and {new.dtype}."
                )
    graph = keras.Model(student.input, student.output, name="student")
    outputs = graph({name: inputs[name] for name in student.input})
    heads = {head: outputs[head] for head in divergence.heads}
    far = divergence(heads, {name: inputs[name] for name in teacher.input})
    return keras.Model(inputs, {**{head: outputs[head] for head in losses}, **far}, name="distil")


def _with_targets(argument, dataset, student, trainer, losses, pairs) -> tf.data.Dataset:
    """Returns batches with labels, and weights, for every output of the trainer."""
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`{argument}` must be a tf.data.Dataset of batches. "
            f"Received: {dataset!r} of type {type(dataset).__name__}."
        )
    spec = dataset.element_spec
    given = set(spec[0]) if isinstance(spec, tuple) and isinstance(spec[0], Mapping) else set()
    missing = sorted(set(trainer.input) - given)
    if missing:
        raise ValueError(
            f"`{argument}` must give batches ({{name: array}}, labels) with the inputs of student "
            f"and teacher. Missing: {missing}. Received elements: {spec}."
        )
    trained = keras.Model(student.input, {head: student.output[head] for head in losses})
    labelled = labels_for_outputs(dataset, trained)

    def add_targets(inputs, labels, weights=None):
        inputs = {name: inputs[name] for name in trainer.input}
        size = tf.shape(next(iter(inputs.values())))[0]
        labels = {**labels, **{head + SUFFIX: tf.zeros((size, 1)) for head in pairs}}
        if weights is None:
            return inputs, labels
        return inputs, labels, {**weights, **{head + SUFFIX: weights[head] for head in pairs}}

    return labelled.map(add_targets, num_parallel_calls=tf.data.AUTOTUNE)


def _far(y_true, y_pred):
    """A loss: the divergence itself."""
    return y_pred[..., 0]


def _for_trainer(arguments, losses, pairs, hard_weight) -> dict[str, Any]:
    """Returns the arguments of `compile` for the trainer."""
    given = arguments.get("loss_weights") or 1.0
    share = {head: given.get(head, 1.0) if isinstance(given, Mapping) else given for head in losses}
    arguments = {
        **arguments,
        "loss": {**losses, **{head + SUFFIX: _far for head in pairs}},
        "loss_weights": {
            **{head: share[head] * (hard_weight if head in pairs else 1.0) for head in losses},
            **{head + SUFFIX: share[head] * (1 - hard_weight) for head in pairs},
        },
    }
    for name in ("metrics", "weighted_metrics"):
        metrics = arguments.get(name)
        if metrics is not None and not isinstance(metrics, Mapping):
            arguments[name] = dict.fromkeys(pairs, metrics)
        elif metrics:
            arguments[name] = {head: one for head, one in metrics.items() if head in losses}
    return arguments
