"""Quantization-aware training."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import check_bool, check_int
from mm_keras.compress import flatbuffer
from mm_keras.compress.annotation import (
    FEW_VALUES,
    has_few_values,
    quantization_aware,
    takes,
)
from mm_keras.compress.bridge import to_tf_keras
from mm_keras.compress.conversion import Conversion
from mm_keras.compress.fine_tuning import check_training, compile_arguments
from mm_keras.compress.graph import check_functional, walk
from mm_keras.compress.hosted import Hosted
from mm_keras.compress.quantize import (
    checked_batches,
    finished,
    keeps_defaults,
    kept_layers,
    set_pixel_inputs,
)
from mm_keras.compress.quantized_model import QuantizedModel
from mm_keras.compress.weights import (
    SPARSE,
    compressible,
    compressible_layers,
    sparsity,
    zeros_in,
)
from mm_keras.exporting.litert import SIGNATURE
from mm_keras.exporting.serving import Serving
from mm_keras.models import inference_model


def quantize_aware(
    model: keras.Model,
    train: tf.data.Dataset,
    *,
    epochs: int = 1,
    compile: Mapping[str, Any] | None = None,
    validation_data: tf.data.Dataset | None = None,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    preserve_sparsity: bool | None = None,
    preserve_clusters: bool | None = None,
    representative: tf.data.Dataset | None = None,
    samples: int = 128,
    keep_float: Sequence[str] | None = None,
    uint8: Sequence[str] | None = None,
) -> QuantizedModel:
    """Trains a model further while it rounds as an int8 model does, then makes that int8 model.

    Try `quantize` first: it takes seconds and mostly costs less than a point. Where it costs more,
    as in thin or depthwise networks, weights can learn to live with the rounding. TFMOT does that
    for convolutions, dense layers and what stands between them; the others are quantized after
    training. `model` stays as it is.

    Zeros and few values that `prune` and `cluster` left in the weights stay, by TFMOT's preserving
    schemes, so that prune → cluster → quantize_aware gives all three gains. Pruned and clustered
    layers for which TFMOT has no such scheme are then not trained.

    Args:
        model: A functional `keras.Model`, trained.
        train: Batches of `({name: array}, labels)`, or with sample weights.
        epochs: Number of passes.
        compile: Arguments of `compile` for this training, such as a smaller learning rate. Those
            left out are as the model is compiled. XLA is not used.
        validation_data: As `train`.
        steps_per_epoch: Of `train`, where its length is unknown.
        callbacks: Keras callbacks; one that saves the model raises.
        verbose: As for `fit`.
        preserve_sparsity: Whether zeros stay zeros; `None`: if at least 5 % of the kernels are.
        preserve_clusters: Whether kernels keep their number of values; `None`: if at least half of
            them have no more than 64.
        representative: Samples for the ranges of what is quantized after training; `None`: of
            `train`.
        samples: See `quantize`.
        keep_float: See `quantize`.
        uint8: See `quantize`.

    Returns:
        As `quantize`; its `trained` names the layers that were trained with rounding, its
        `not_trained` those that were not, with the reason.

    Raises:
        TypeError, ValueError: If an argument does not fit, before any training; if LiteRT lacks an
            operation of the model.
        RuntimeError: If zeros got lost that were to be preserved.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2, width=8)
    >>> model.compile("adam", mm.losses.classification(), jit_compile=False)
    >>> inputs = {"a": np.ones((8, 4)), "b": np.ones((8, 3))}
    >>> train = tf.data.Dataset.from_tensor_slices((inputs, [0, 1] * 4)).batch(4)
    >>> small = mm.compress.quantize_aware(model, train, verbose=0)
    >>> "label_logits" in small.trained
    True

    Reference: Jacob et al., Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, 2018.
    """
    check_functional(model)
    check_int("samples", samples)
    for argument, value in (
        ("preserve_sparsity", preserve_sparsity),
        ("preserve_clusters", preserve_clusters),
    ):
        if value is not None:
            check_bool(argument, value)
    arguments = compile_arguments(model, compile) | {"jit_compile": False}
    shipped = inference_model(model)
    serving = Serving(shipped, strings=False)
    kept = kept_layers(shipped, keep_float, "int8")
    parts = {  # of a nested model that is named, all
        path: kept[name] for _, path in walk(shipped) for name in path.split("/") if name in kept
    }
    # TFMOT would round the outputs of those that tf_keras has for what comes after them.
    bridge = to_tf_keras(model, carry=tuple(parts))
    bridge.source.compile(**arguments)
    check_training(bridge.source, train, validation_data, epochs, steps_per_epoch)
    samples_of = train if representative is None else representative
    batches = checked_batches(serving, "int8", samples_of, samples)
    set_pixel_inputs(serving, uint8, batches)
    if not takes(bridge.model.layers):
        raise ValueError(
            "`model` must have a layer that TFMOT can train quantized, such as Conv2D or Dense. "
            f"Received: {model.name!r}, which has none: use `quantize`."
        )
    if preserve_sparsity is None:
        preserve_sparsity = sparsity(model).overall >= SPARSE
    zeros = zeros_in(shipped)
    preserve_clusters = _clustered(model) if preserve_clusters is None else preserve_clusters
    layers = {name: bridged.path for name, bridged in bridge.layers.items()}
    aware, refused = quantization_aware(
        bridge.model,
        preserve_sparsity,
        preserve_clusters,
        {name: parts[path] for name, path in layers.items() if path in parts},
    )
    hosted = Hosted(aware, layers=bridge.source.layers)
    hosted.compile(**arguments)
    hosted.fit(
        train,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
        shuffle=False,  # that is up to the dataset
    )
    with Conversion(lambda folder: _write(aware, serving, folder)) as conversion:
        content, reasons = conversion.int8(batches, kept, keeps_defaults(keep_float))
    if preserve_sparsity:
        _check_zeros(content, zeros)
    return finished(
        content,
        "int8",
        reasons,
        trained=tuple(path for name, path in layers.items() if name not in refused),
        not_trained={layers[name]: reason for name, reason in refused.items()},
    )


def _clustered(model: keras.Model) -> bool:
    """Whether at least half of the kernels that could have more values have few."""
    kernels = [
        v.numpy() for layer in compressible_layers(model).values() for v in compressible(layer)
    ]
    few = [has_few_values(kernel) for kernel in kernels if kernel.size > 2 * FEW_VALUES]
    return bool(few) and np.mean(few) >= 0.5


def _write(aware: Any, serving: Serving, folder: pathlib.Path) -> None:
    """Writes a tf_keras model as a SavedModel with the inputs and outputs of what ships."""
    holder = tf.Module()
    holder.aware = aware
    graph_inputs = {tensor.name: tensor for tensor in tf.nest.flatten(aware.input)}
    shipped = dict(zip(serving.model.output_names, serving.outputs, strict=True))

    @tf.function(autograph=False)
    def serve(**inputs):
        size = tf.shape(next(iter(inputs.values())))[:1]
        given = {
            # What only training needs has no effect on what ships.
            name: tf.cast(inputs[name], tensor.dtype)
            if name in inputs
            else tf.zeros(tf.concat([size, tensor.shape[1:]], 0), tensor.dtype)
            for name, tensor in graph_inputs.items()
        }
        outputs = aware(_as(aware.input, given), training=False)
        if not isinstance(outputs, dict):
            outputs = dict(zip(shipped, tf.nest.flatten(outputs), strict=True))
        return {name: outputs[name] for name in serving.outputs}

    tf.saved_model.save(
        holder, folder, signatures={SIGNATURE: serve.get_concrete_function(**serving.inputs)}
    )


def _as(structure: Any, given: dict[str, tf.Tensor]) -> Any:
    return tf.nest.map_structure(lambda tensor: given[tensor.name], structure)


def _check_zeros(content: bytes, before: int) -> None:
    # The file has more of them: depthwise kernels are counted, and small weights become 0.
    after = sum(int((w == 0).sum()) for w in flatbuffer.weights_of(flatbuffer.read(content)))
    if after < 0.99 * before:
        raise RuntimeError(
            f"Of {before:,} zeros in the weights {after:,} are left after quantization-aware "
            "training. A callback that restores weights can cause that."
        )
