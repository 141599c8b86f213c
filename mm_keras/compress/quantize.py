"""Quantization after training."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice, check_int
from mm_keras.compress import flatbuffer
from mm_keras.compress.conversion import (
    RANGES,
    SPECTROGRAM,
    Conversion,
    stayed_float,
)
from mm_keras.compress.graph import check_functional, walk
from mm_keras.compress.quantized_model import QuantizedModel
from mm_keras.compress.representative import (
    Batches,
    check_representative,
    read_representative,
    whole_pixels,
)
from mm_keras.exporting.serving import Serving
from mm_keras.layers import LogMelSpectrogram
from mm_keras.models import inference_model

MODES = ("int8", "dynamic", "float16", "16x8", "float32")
PIXELS = "pixels 0-255"
SPECTROGRAMS = (
    LogMelSpectrogram,
    keras.layers.MelSpectrogram,
    keras.layers.STFTSpectrogram,
)


def quantize(
    model: keras.Model,
    mode: str = "int8",
    *,
    representative: tf.data.Dataset | None = None,
    samples: int = 128,
    keep_float: Sequence[str] | None = None,
    uint8: Sequence[str] | None = None,
) -> QuantizedModel:
    """Turns a trained model into a small LiteRT model, whose weights take 8 or 16 bits.

    `"int8"` also computes in 8 bits: the smallest and, on CPUs and phones, the fastest. It has to
    know the range of every number in the model, and measures it on `representative` samples.
    Spectrograms are kept in float32: the powers of a sound span more than 8 bits hold, and without
    this a model that hears is as good as deaf. So are the softmax or sigmoid of an output and what
    comes after it, such as the temperature of `mm.evaluate.calibrate`: in steps of 1/256 small
    probabilities would be 0. The dense layer before them is in 8 bits. Training-only branches are
    left out, as by `mm.export`. An absent modality has no effect, as in the model.

    Args:
        model: A functional `keras.Model`, from a builder or made by hand.
        mode: `"int8"`; `"dynamic"`: weights in 8 bits, activations rounded as they come; no
            representative samples are needed; `"float16"`: weights in 16 bits, computed in float32;
            `"16x8"`: activations in 16 bits, for what int8 is too coarse for; slow on CPU;
            `"float32"`: not quantized, to compare with.
        representative: Batches of `({name: array}, labels)` such as the training set, or of
            `{name: array}`; needed by `"int8"` and `"16x8"`.
        samples: How many of them are looked at.
        keep_float: Names of layers, nested models included, to leave in float32, besides
            spectrograms and probabilities, which `None`, the default, keeps alone. An empty list
            keeps nothing: spectrograms and probabilities are quantized, too. Names only with
            `"int8"` and `"dynamic"`.
        uint8: Inputs that take pixels as uint8, a quarter of the bytes; `None`: pictures whose
            representative samples are all whole numbers in 0…255.

    Returns:
        A LiteRT model with `predict({name: array})` and `save(path)`; its `stayed_float` lists the
        operators that were left in float32, with the reason.

    Raises:
        TypeError: If `model` is no functional model, or `representative` no dataset.
        ValueError: For an unknown mode, layer or input; if representative samples lack an input,
            have another shape or are not finite; if LiteRT lacks an operation of the model. All
            but the last before any work.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3, optional=True)}, 2)
    >>> inputs = {"a": np.ones((8, 4)), "b": np.ones((8, 3)), "b_present": np.ones((8, 1), bool)}
    >>> small = mm.compress.quantize(
    ...     model, representative=tf.data.Dataset.from_tensor_slices(inputs).batch(4))
    >>> small.predict(inputs)["label"].shape
    (8, 2)

    Reference: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, 2018.
    """
    check_functional(model)
    check_choice("mode", mode, MODES)
    check_int("samples", samples)
    serving = Serving(inference_model(model), strings=False)
    kept = kept_layers(serving.model, keep_float, mode)
    batches = checked_batches(serving, mode, representative, samples)
    set_pixel_inputs(serving, uint8, batches)
    with Conversion.of_serving(serving) as conversion:
        if mode == "int8":
            content, kept = conversion.int8(batches, kept, keeps_defaults(keep_float))
        elif mode == "dynamic":
            content = conversion.dynamic(kept)
        else:
            content = conversion.plain(None if mode == "float32" else mode, batches)
    return finished(content, mode, kept)


def finished(content: bytes, mode: str, reasons: dict[str, str], **training: Any) -> QuantizedModel:
    """Returns a converted file as a model, without the names that only the list needs."""
    file = flatbuffer.read(content)
    listed = stayed_float(file, mode, reasons)
    flatbuffer.drop_names(file)
    return QuantizedModel(flatbuffer.written(file), mode, listed, **training)


def keeps_defaults(keep_float: Sequence[str] | None) -> bool:
    """Whether what 8 bits are too coarse for stays in float32; an empty list says no."""
    return keep_float is None or len(keep_float) > 0


def kept_layers(model: keras.Model, keep_float: Sequence[str] | None, mode: str) -> dict[str, str]:
    """Returns `{layer: reason}` of the layers that stay in float32, after a check."""
    if isinstance(keep_float, str):
        raise TypeError(
            "`keep_float` must be a sequence of layers' names. "
            f"Received: keep_float={keep_float!r}."
        )
    layers = {part.name: part for part, _ in walk(model) if part is not model}
    for name in keep_float or ():
        check_choice("keep_float", name, sorted(layers))
    if keep_float and mode not in ("int8", "dynamic"):
        raise ValueError(
            "`keep_float` must be empty but with mode='int8' or 'dynamic'. "
            f"Received: keep_float={list(keep_float)}, mode={mode!r}."
        )
    if not keeps_defaults(keep_float) or mode not in ("int8", "dynamic", "16x8"):
        return {}
    kept = {name: SPECTROGRAM for name, part in layers.items() if isinstance(part, SPECTROGRAMS)}
    if kept and mode == "16x8":
        raise ValueError(
            "`mode` must be one that can leave layers in float32 for a model with "
            f"spectrograms, {sorted(kept)}: 'int8' or 'dynamic'. To quantize them all the "
            f"same, which costs accuracy, pass keep_float=(). Received: mode={mode!r}."
        )
    return dict.fromkeys(keep_float or (), "named in keep_float") | kept


def checked_batches(
    serving: Serving, mode: str, representative: tf.data.Dataset | None, samples: int
) -> Batches:
    """Returns representative samples after a check; none where they are not needed or given."""
    if representative is None:
        if mode in RANGES:
            raise ValueError(
                f"`representative` must be given for mode={mode!r}, which measures the range of "
                "every number on samples, e.g. representative=train. Received: None."
            )
        return []
    check_representative(representative, serving.inputs)
    return read_representative(representative, serving.inputs, samples)


def set_pixel_inputs(serving: Serving, uint8: Sequence[str] | None, batches: Batches) -> None:
    """Makes uint8 of the inputs that hold pixels; the graph turns them into floats, exactly."""
    if uint8 is None:
        uint8 = [
            name
            for name, spec in serving.modalities.items()
            if spec.units == PIXELS and batches and whole_pixels(batches, name)
        ]
    elif isinstance(uint8, str):
        raise TypeError(f"`uint8` must be a sequence of inputs' names. Received: uint8={uint8!r}.")
    for name in uint8:
        check_choice("uint8", name, sorted(serving.inputs))
        if serving.inputs[name].dtype == tf.bool:
            raise ValueError(f"`uint8` must name inputs of numbers. Received: {name!r}, bool.")
        if batches and not whole_pixels(batches, name):
            raise ValueError(
                "`uint8` must name inputs whose representative samples are whole numbers in "
                f"0…255. Received: {name!r}."
            )
        serving.inputs[name] = tf.TensorSpec(serving.inputs[name].shape, tf.uint8, name=name)
    for batch in batches:
        for name, spec in serving.inputs.items():
            batch[name] = np.ascontiguousarray(batch[name], spec.dtype.as_numpy_dtype)
