"""The check that every layer passes."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from mm_keras._graphs import dtype_policy
from mm_keras.testing.compare import (
    name_of,
    require,
    require_close,
    require_finite,
    require_same_weights,
    require_specs,
    saved_and_loaded,
    to_numpy,
)
from mm_keras.testing.gradients import gradients, require_gradients


def check_layer(
    layer: keras.layers.Layer,
    inputs: Any,
    call_kwargs: Mapping[str, Any] | None = None,
    *,
    batch_sizes: Sequence[int] = (1, 3),
    fit: bool = True,
    mixed_precision: bool = True,
    may_lack_gradient: Sequence[str] = (),
    rtol: float = 1e-5,
) -> None:
    """Checks whatever must hold for any layer.

    Its config makes it again; a functional model with it saves and loads; the batch size may
    vary, and samples don't depend on each other; the symbolic output has the shape and dtype of
    the real one; outputs are finite, under the `mixed_float16` policy too; a step of `fit` runs;
    every trainable weight gets a gradient.

    Args:
        layer: Not built yet, or built for inputs such as these.
        inputs: An array, or a nest of arrays, whose first axis is the batch.
        call_kwargs: Further arguments of the call; arrays have the batch as their first axis.
        batch_sizes: Batches, taken from the first samples, that must give the first outputs.
        fit: Whether to run a step of `fit`: it needs outputs with the batch size of the inputs.
        mixed_precision: Whether to run the layer under `mixed_float16`.
        may_lack_gradient: Parts of the paths of weights that may have a gradient of zero, such as
            `"key/bias"` of an attention, which its softmax cancels.
        rtol: Relative tolerance, and absolute tolerance on outputs of the order of 1.

    Raises:
        AssertionError: If something does not hold.
    """
    call_kwargs = dict(call_kwargs or {})
    name = name_of(layer)
    expected = to_numpy(layer(inputs, **call_kwargs))
    require_finite(expected, f"output of {name}")

    check_serialization(layer)
    model = _functional(layer, inputs, call_kwargs)
    feed = tree.flatten(_arrays(inputs, call_kwargs))
    require_specs(model.output, expected, name)
    require_close(to_numpy(model(feed)), expected, f"symbolic and eager output of {name}", rtol)
    loaded = saved_and_loaded(model)
    require_same_weights(model, loaded, name)
    require_close(to_numpy(loaded(feed)), expected, f"output of {name} after saving", rtol)

    for size in batch_sizes:
        first = [array[:size] for array in feed]
        outputs = to_numpy(model(first))
        head = tree.map_structure(lambda whole, part: whole[: len(part)], expected, outputs)
        require_close(outputs, head, f"output of {name} for a batch of {size}", rtol)

    if mixed_precision:
        _check_mixed_layer(layer, inputs, call_kwargs, name)
    if fit:
        _check_fit(model, feed, expected, name)
    if layer.trainable_weights:
        require_gradients(
            lambda seed: gradients(lambda: layer(inputs, **call_kwargs), layer, seed=seed),
            name,
            may_lack_gradient,
        )


def check_serialization(thing: Any) -> None:
    """Checks that a layer's or loss's config is JSON and makes the same thing again."""
    name = name_of(thing)
    config = thing.get_config()
    copy = type(thing).from_config(config)
    for argument in inspect.signature(type(thing).__init__).parameters:
        value = getattr(thing, argument, None)
        if isinstance(value, bool | int | float | str | tuple):  # others have no plain equality
            same = getattr(copy, argument, None) == value
            require(same, f"get_config() of {name} lacks `{argument}`, or from_config() drops it.")
    again = copy.get_config()
    require(again == config, f"from_config(get_config()) of {name} gave {again}, not {config}.")
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    read = keras.saving.deserialize_keras_object(written)
    require(
        type(read) is type(thing) and read.get_config() == config,
        f"deserialize(serialize()) of {name} gave {read!r} with {read.get_config()}.",
    )


def _check_mixed_layer(layer, inputs, call_kwargs, name) -> None:
    config = {key: value for key, value in layer.get_config().items() if key != "dtype"}
    with dtype_policy("mixed_float16"):
        mixed = type(layer).from_config(config)
        outputs = to_numpy(mixed(inputs, **call_kwargs))
        mixed.set_weights(layer.get_weights())
        outputs = to_numpy(mixed(inputs, **call_kwargs))
        specs = _functional(mixed, inputs, call_kwargs).output
    require_finite(outputs, f"output of {name} under mixed_float16")
    require_specs(specs, outputs, f"{name} under mixed_float16")


def _check_fit(model, feed, expected, name) -> None:
    """Runs a step of fit with a dense layer on each float output, so that something trains."""
    heads = [
        keras.layers.Dense(2)(output)
        for output in tree.flatten(model.output)
        if keras.backend.is_float_dtype(output.dtype)
    ]
    if not heads:
        return
    size = len(feed[0])
    trained = keras.Model(model.input, heads)
    targets = [np.ones((size, *head.shape[1:]), "float32") for head in heads]
    trained.compile("sgd", ["mse"] * len(heads), jit_compile=False)
    history = trained.fit(feed, targets, verbose=0)
    require_finite(np.array(history.history["loss"]), f"loss of {name} in fit")
    for weight in trained.weights:
        require_finite(weight.numpy(), f"weight {weight.path!r} of {name} after fit")


def _functional(layer, inputs, call_kwargs) -> keras.Model:
    """A functional model of the layer with one input for each array."""

    def make(path, array):
        name = "_".join(("in", *(str(part) for part in path)))
        return keras.Input(array.shape[1:], dtype=str(array.dtype), name=name)

    arrays = _arrays(inputs, call_kwargs)
    flat = [make(path, array) for path, array in _with_paths(arrays)]
    symbolic = tree.pack_sequence_as(arrays, flat)
    passed = {key: symbolic["kwargs"].get(key, value) for key, value in call_kwargs.items()}
    return keras.Model(flat, layer(symbolic["inputs"], **passed))


def _with_paths(structure, path=()):
    """Yields `(path, array)` in the order of `keras.tree.flatten`."""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _with_paths(structure[key], (*path, key))
    elif isinstance(structure, list | tuple):
        for index, item in enumerate(structure):
            yield from _with_paths(item, (*path, index))
    else:
        yield path, structure


def _arrays(inputs, call_kwargs) -> dict[str, Any]:
    """The call's arrays as one nest; flattened, it feeds the model of `_functional`."""
    kwargs = {
        key: value
        for key, value in call_kwargs.items()
        if all(hasattr(leaf, "shape") for leaf in tree.flatten(value)) and tree.flatten(value)
    }
    return {"inputs": inputs, "kwargs": kwargs}
