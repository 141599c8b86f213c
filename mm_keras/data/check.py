"""Does this dataset fit that model?"""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import nearest
from mm_keras.data.outputs import has_metrics, outputs_with_loss
from mm_keras.modalities import Audio, Image, Modality, Video, Views
from mm_keras.modalities.base import MODEL

# Beyond what augmentation makes of pixels 0–255 and sound −1…1.
BRIGHT = 1024
LOUD = 16
NORMALISED = 5  # deviations that the brightest pixel is above the mean


def check_dataset(dataset: tf.data.Dataset, model: keras.Model, batches: int | None = None) -> int:
    """Checks batches of a dataset against a model's inputs and outputs before training.

    Keras finds a wrong name late, and a label beyond the last class not at all on some devices:
    the loss then is NaN, or silently wrong. Nor does it know units: normalised pixels where the
    model takes 0–255, or sound as 16-bit integers, train, and badly. Units are judged by all that
    is looked at: dark pictures and silence are no error. Pixels for a backbone that is a
    `keras.Model`, or with `preprocessing="none"`, are not judged.

    Labels are needed for the outputs that the model is compiled with a loss for; of a model that is
    not compiled, for at least one. Others, such as the gates of `build_dfn`, may lack them, unless
    the model has metrics: Keras then looks for the labels of every output, and
    `mm.data.labels_for_outputs` adds them. Labels that are there are checked.

    Args:
        dataset: Batches of `({name: array}, labels)`, labels an array for one output, or
            `{output: labels}`; with or without sample weights.
        model: A functional `keras.Model` with dicts of inputs and outputs.
        batches: How many batches to look at; `None`: all.

    Returns:
        The number of samples seen.

    Raises:
        ValueError: If an input is missing, has another shape, is not finite, or in other units than
            its spec says; or if labels are missing, out of range, or of no output.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2)
    >>> data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((6, 4))}, [0, 1, 0, 1, 0, 1]))
    >>> mm.data.check_dataset(data.batch(2), model)
    6
    """
    classes = _classes(model)
    specs = _in_units(model)
    ranges: dict[str, Range] = {}
    seen = 0
    for element in dataset if batches is None else dataset.take(batches):
        if not isinstance(element, tuple) or len(element) not in (2, 3):
            raise ValueError(
                "`dataset` must give (inputs, labels) or (inputs, labels, sample_weight). "
                f"Received elements of structure: {keras.tree.map_structure(type, element)}."
            )
        inputs, labels = element[:2]
        seen += _check_inputs(inputs, model.input, seen)
        for name in specs:
            ranges[name] = _range(np.asarray(inputs[name])).joined(ranges.get(name))
        for name, values in _labels_by_output(labels, model).items():
            units = model.output[name].shape[-1]
            _check_labels(name, np.asarray(values), units, name in classes)
    if not seen:
        raise ValueError("`dataset` must have at least one sample. Received: none.")
    for name, spec in specs.items():
        _check_units(name, spec, ranges[name])
    return seen


def _in_units(model: keras.Model) -> dict[str, Modality]:
    """Returns `{name: spec}` of the inputs that are pixels or sound."""
    found = {
        layer.name.removesuffix("_input"): getattr(layer, "spec", None) for layer in model.layers
    }
    return {
        name: spec
        for name, spec in found.items()
        if name in model.input and isinstance(spec, Image | Views | Video | Audio)
    }


class Range(NamedTuple):
    """What values lie in.

    Args:
        low: The least.
        high: The greatest.
        whole: Whether all are whole numbers.
    """

    low: float
    high: float
    whole: bool

    def joined(self, other: "Range | None") -> "Range":
        """Returns the range of both."""
        if other is None:
            return self
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Range(low, high, self.whole and other.whole)


def _range(values: np.ndarray) -> Range:
    if not values.size or values.dtype == bool:
        return Range(0.0, 0.0, True)
    whole = values.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    return Range(float(values.min()), float(values.max()), whole)


def _check_units(name: str, spec: Modality, found: Range) -> None:
    """Raises for pixels and sound that are clearly in other units than the spec says."""
    received = f"Received: values from {found.low:g} to {found.high:g}"
    if isinstance(spec, Audio):
        if max(-found.low, found.high) > LOUD:
            raise ValueError(
                f"`dataset` must give {name!r} as a {spec.units}. {received}: divide 16-bit "
                "samples by 32768, or let mm.data.from_arrays do so."
            )
        return
    if _takes_any_pixels(spec):
        return
    mend = ""
    if not found.whole and found.high <= (1 if found.low >= 0 else NORMALISED):
        mend = "multiply by 255" if found.low >= 0 else "undo what normalises them: the model does"
    elif found.high > BRIGHT:
        mend = "divide 16-bit pixels by 257"
    if mend:
        raise ValueError(f"`dataset` must give {name!r} as {spec.units}. {received}: {mend}.")


def _takes_any_pixels(spec: Modality) -> bool:
    """Whether pixels reach a backbone as they are, which then knows best."""
    if spec.preprocessing == "auto":
        return not isinstance(spec.backbone, str) or spec.backbone.startswith(MODEL)
    return spec.preprocessing == "none"


def _labels_by_output(labels, model: keras.Model) -> Mapping:
    """Returns labels as a dict, after a check of its names."""
    outputs, trained = sorted(model.output), outputs_with_loss(model)
    if not isinstance(labels, Mapping):
        if len(outputs) > 1:
            raise ValueError(
                f"`dataset` must give labels as a dict for the outputs {sorted(trained or outputs)}"
                f". Received: {type(labels).__name__}."
            )
        return {outputs[0]: labels}
    for name in labels:
        if name not in outputs:
            raise ValueError(
                f"`dataset` must give labels for outputs out of {outputs}.{nearest(name, outputs)} "
                f"Received labels for: {name!r}."
            )
    lacking = sorted((trained or set()) - set(labels))
    if lacking:
        raise ValueError(
            f"`dataset` must give labels for the output {lacking[0]!r}, which has a loss. If it is "
            "not to be trained, compile with a dict of losses without it. "
            f"Received labels for: {sorted(labels)}."
        )
    if not labels:
        raise ValueError(
            f"`dataset` must give labels for at least one output out of {outputs}. Received: none."
        )
    lacking = sorted(set(outputs) - set(labels))
    if lacking and has_metrics(model):
        raise ValueError(
            "`dataset` must give labels for every output of a model with metrics, since Keras looks"
            " for them even where nothing is measured. mm.data.labels_for_outputs(dataset, model) "
            f"adds them. Received labels for: {sorted(labels)}, without {lacking}."
        )
    return labels


def _classes(model: keras.Model) -> set[str]:
    """Returns the names of outputs that are softmaxes over classes."""
    # A student's output "image" of the head "label" comes from the layer "image_label", and the
    # output "label" is then the ensemble of such.
    softmaxes = {
        layer.name
        for layer in model.layers
        if getattr(layer, "activation", None) is keras.activations.softmax
    }
    return {
        name
        for name in model.output
        if softmaxes
        & {name, *(f"{name}_{o}" for o in model.output), *(f"{o}_{name}" for o in model.output)}
    }


def _check_inputs(inputs, expected, seen: int) -> int:
    if not isinstance(inputs, Mapping):
        raise ValueError(
            f"`dataset` must give inputs as a dict of {sorted(expected)}. "
            f"Received: {type(inputs).__name__}."
        )
    missing = sorted(set(expected) - set(inputs))
    if missing:
        raise ValueError(
            f"`dataset` must give the inputs {sorted(expected)}. "
            f"Received: {sorted(inputs)}, without {missing}."
        )
    for name, tensor in expected.items():
        value = np.asarray(inputs[name])
        if value.shape[1:] != tuple(tensor.shape[1:]):
            raise ValueError(
                f"`dataset` must give {name!r} in batches of shape {('B', *tensor.shape[1:])}. "
                f"Received: {value.shape}."
            )
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            bad = ~np.isfinite(value.reshape(len(value), -1)).all(axis=1)
            raise ValueError(
                f"`dataset` must give finite numbers. Received: NaN or infinity in {name!r} of "
                f"sample {seen + int(np.argmax(bad))}."
            )
    return len(np.asarray(inputs[next(iter(expected))]))


def _check_labels(name: str, labels: np.ndarray, units: int, is_classes: bool) -> None:
    numbers = labels.ndim == 1 or (labels.shape[-1] == 1 and units > 1)
    if is_classes and numbers:
        wrong = (labels < 0) | (labels >= units) | (labels != np.floor(labels))
        if wrong.any():
            found = labels[wrong].ravel()[0]
            needed = (
                f", which needs num_classes of at least {found + 1:g}" if found >= units else ""
            )
            raise ValueError(
                f"labels of {name!r} must be whole numbers in 0…{units - 1}. "
                f"Received: {found}{needed}."
            )
    elif labels.ndim > 1 and labels.shape[-1] != units:
        raise ValueError(
            f"labels of {name!r} must have {units} columns. Received shape: {labels.shape}."
        )
