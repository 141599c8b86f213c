"""Features of a frozen backbone, computed once and kept on disk."""

import hashlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_keras._graphs import needed_inputs
from mm_keras.data.elements import check_batched, check_elements
from mm_keras.modalities.base import MODEL

MANIFEST = "cache.json"
ELEMENTS = "elements"
FORMAT = 1


class CachedFeatures(NamedTuple):
    """What a model is trained on in place of what its backbones would read.

    Args:
        dataset: Batches as before, with the input `"<layer>_features"` in place of each input that
            only a cached layer needs.
        model: The rest of the graph, over the same layers and weights: training it trains them in
            the full model. It is not compiled.
    """

    dataset: tf.data.Dataset
    model: keras.Model


def cache_features(
    model: keras.Model,
    dataset: tf.data.Dataset,
    path: str | os.PathLike,
    *,
    layers: Sequence[str] | None = None,
    rebuild: bool = False,
) -> CachedFeatures:
    """Computes what frozen backbones make of a dataset once, and keeps it on disk.

    Training on the result gives what training the full model gives, as the backbones are frozen
    and run as at inference (without their dropout), in a fraction of the time. The layers are
    shared: when the returned model has been trained, so has the full one.

    The cache is good for the same weights and graph of the backbones, and for the same data in
    the same order; each call checks that, which reads the data once, but doesn't run the backbones.
    So cache before anything random: shuffle, augment and mix what is returned,
    `dataset.unbatch().shuffle(…).batch(…)`.

    Args:
        model: A functional `keras.Model` with a dict of inputs.
        dataset: Batches of `({name: array}, labels[, sample_weight])`, finite, in the same order
            at each pass.
        path: A folder, made if it is not there. It is written under another name and then renamed,
            so that it is whole or not there.
        layers: Names of the layers to cache; `None`: each layer that is a `keras.Model` (a
            backbone) with no trainable weights.
        rebuild: Whether to compute a cache again that is good for something else, rather than
            raise.

    Returns:
        The dataset of features and the rest of the model.

    Raises:
        ValueError: If the cache at `path` is good for other weights, another graph or other data;
            if no backbone is frozen; for arguments that don't fit.
        FileExistsError: If there is something else at `path`.

    Example:

    >>> import tempfile, numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> image = mm.Image((8, 8, 1), backbone="SmallCNN", trainable=False)
    >>> model = mm.build_mcnn({"image": image}, 2)
    >>> data = tf.data.Dataset.from_tensor_slices(({"image": np.zeros((4, 8, 8, 1))}, [0, 1, 0, 1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     features, rest = mm.data.cache_features(model, data.batch(2), f"{folder}/cache")
    ...     sorted(features.element_spec[0]), sorted(rest.input)
    (['image_backbone_features'], ['image_backbone_features'])
    """
    spec = check_elements(dataset)
    check_batched(spec)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("`dataset` must end: call .repeat() on what is returned instead.")
    names = _check_layers(model, layers)
    extractor = _extractor(model, names)
    missing = sorted(set(model.input) - set(spec[0]))
    if missing:
        raise ValueError(
            f"`dataset` must give the inputs {sorted(model.input)}. "
            f"Received: {sorted(spec[0])}, without {missing}."
        )
    rows = _rows_per_sample(extractor, dataset)
    head = _head(model, extractor, names, rows)
    folder = pathlib.Path(path)
    keys = {
        "format": FORMAT,
        "weights": _weights_digest(extractor),
        "graph": _graph(extractor),
        "inputs": sorted(set(head.input) - set(extractor.output)),
    }
    stale = _stale(folder, keys, dataset) if folder.exists() else None
    if stale and not rebuild:
        raise ValueError(
            f"`path` must be a new folder, or a cache of the same weights, graph and data. "
            f"Received: {folder}, which was made with other {stale}. Pass rebuild=True to compute "
            "it again, or another path."
        )
    if stale or not folder.exists():
        _write(folder, keys, extractor, head, dataset, rows)
    return CachedFeatures(_load(folder, extractor), head)


def _check_layers(model: keras.Model, layers: Sequence[str] | None) -> list[str]:
    if not isinstance(model, keras.Model) or not isinstance(getattr(model, "input", None), dict):
        raise TypeError(
            f"`model` must be a functional keras.Model with a dict of inputs. Received: {model!r}."
        )
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable_weights]
    backbones = [n for n in frozen if isinstance(model.get_layer(n), keras.Model)]
    if layers is None:
        layers = backbones
    elif isinstance(layers, str) or not isinstance(layers, Sequence):
        raise TypeError(f"`layers` must be a sequence of names. Received: layers={layers!r}.")
    known = [layer.name for layer in model.layers]
    wrong = [name for name in layers if name not in known or name not in frozen]
    if wrong or not layers:
        raise ValueError(
            "`layers` must name frozen layers of the model, with weights none of which trains "
            f"(mm.Image(…, trainable=False), or layer.trainable = False). Frozen are: {frozen}. "
            f"Received: {list(layers)}."
        )
    return list(layers)


def _cut(model: keras.Model, call: Callable, inputs: Any = None) -> keras.Model:
    """Returns the graph over the same layers, each called through `call`."""
    return keras.models.clone_model(
        model, input_tensors=inputs, clone_function=lambda layer: layer, call_function=call
    )


def _extractor(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Returns the model of what the layers put out: `{"<layer>_features": …}`."""
    found: dict[str, keras.KerasTensor] = {}

    def record(layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        if layer.name in names:
            _check_output(layer, output)
            found[_feature_name(layer, found)] = output
        return output

    clone = _cut(model, record)
    return keras.Model(needed_inputs(clone.input, found), found, name=f"{model.name}_frozen")


def _feature_name(layer: keras.layers.Layer, taken: Mapping[str, Any]) -> str:
    """Returns a name for the output; a shared layer is called more than once."""
    name = f"{layer.name}_features"
    calls = sum(key == name or key.startswith(f"{name}_") for key in taken)
    return f"{name}_{calls + 1}" if calls else name


def _check_output(layer: keras.layers.Layer, output: Any) -> None:
    if not isinstance(output, keras.KerasTensor) or None in output.shape[1:]:
        raise ValueError(
            "`layers` must name layers with one output of known shape. "
            f"Received: {layer.name!r}, which returns {output!r}."
        )


def _rows_per_sample(extractor: keras.Model, dataset: tf.data.Dataset) -> dict[str, int]:
    """Returns how many rows a sample has: frames and views are folded into the batch."""
    for inputs, *_ in dataset.take(1):
        batch = next(iter(inputs.values())).shape[0]
        return {name: len(rows) // batch for name, rows in _run(extractor, inputs).items()}
    raise ValueError("`dataset` must have at least one batch. Received: none.")


def _run(extractor: keras.Model, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    given = {name: np.asarray(inputs[name]) for name in extractor.input}
    return {name: np.asarray(rows) for name, rows in extractor.predict_on_batch(given).items()}


def _head(
    model: keras.Model, extractor: keras.Model, names: Sequence[str], rows: Mapping[str, int]
) -> keras.Model:
    """Returns the model from features, and what else it needs, to the outputs."""
    features, entered = {}, {}
    for name, output in extractor.output.items():
        shape, count = tuple(output.shape[1:]), rows[name]
        sample = (count, *shape) if count > 1 else shape
        features[name] = x = keras.Input(sample, dtype=output.dtype, name=name)
        entered[name] = keras.ops.reshape(x, (-1, *shape)) if count > 1 else x
    calls: dict[str, Any] = {}

    def replace(layer, *args, **kwargs):
        if layer.name not in names:
            return layer(*args, **kwargs)
        name = _feature_name(layer, calls)
        calls[name] = entered[name]
        return entered[name]

    # The clone is made over all inputs, old and new; then those that no output needs are dropped.
    inputs = {**model.input, **features}
    clone = _cut(keras.Model(inputs, model.output), replace, inputs)
    inputs = needed_inputs(clone.input, clone.output)
    return keras.Model(inputs, clone.output, name=f"{model.name}_on_features")


def _weights_digest(extractor: keras.Model) -> str:
    digest = hashlib.sha256()
    for weight in extractor.weights:
        _update(digest, np.asarray(weight.numpy()))
    return digest.hexdigest()


def _graph(extractor: keras.Model) -> str:
    """Returns a digest of layers, options and connections, whatever the layers' names.

    Names that Keras makes up depend on what else was built before.
    """
    config = keras.saving.serialize_keras_object(extractor)
    numbers: dict[str, str] = {}

    def number(part: Any) -> None:
        if isinstance(part, Mapping):
            if isinstance(part.get("name"), str):
                numbers.setdefault(part["name"], f"#{len(numbers)}")
            for value in part.values():
                number(value)
        elif isinstance(part, list | tuple):
            for value in part:
                number(value)

    def rename(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {
                numbers.get(key, str(key)): rename(value)
                for key, value in part.items()
                if key != "shared_object_id"
            }
        if isinstance(part, list | tuple):
            return [rename(value) for value in part]
        if isinstance(part, str):  # a spec names the model that it was given, too
            return numbers.get(part.removeprefix(MODEL), part)
        return part

    number(config)
    numbers |= {name: f"#output {index}" for index, name in enumerate(extractor.output)}
    text = json.dumps(rename(config), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _update(digest: "hashlib._Hash", array: np.ndarray) -> None:
    digest.update(f"{array.dtype.str} {array.shape}".encode())
    strings = array.dtype == object
    digest.update(repr(array.tolist()).encode() if strings else array.tobytes())


def _hash_element(digest: "hashlib._Hash", element: tuple) -> None:
    for path, leaf in keras.tree.flatten_with_path(element):
        digest.update(repr(path).encode())
        _update(digest, leaf.numpy() if hasattr(leaf, "numpy") else np.asarray(leaf))


def _data_digest(dataset: tf.data.Dataset) -> str:
    digest = hashlib.sha256()
    for element in dataset:
        _hash_element(digest, element)
    return digest.hexdigest()


def _stale(folder: pathlib.Path, keys: Mapping[str, Any], dataset: tf.data.Dataset) -> str | None:
    """Returns what a cache was made with that is other now, or `None`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f"`path` must be a new folder, or one that cache_features made. Received: {folder}, "
            f"which has no readable {MANIFEST}. Nothing was changed."
        ) from error
    other = [key for key, value in keys.items() if manifest.get(key) != value]
    if not other and manifest.get("data") != _data_digest(dataset):
        other = ["data"]
    return " and ".join(other) or None


def _write(
    folder: pathlib.Path,
    keys: Mapping[str, Any],
    extractor: keras.Model,
    head: keras.Model,
    dataset: tf.data.Dataset,
    rows: Mapping[str, int],
) -> None:
    """Writes a cache under another name, then renames it."""
    digest = hashlib.sha256()
    failed: list[Exception] = []

    def elements() -> Iterator[tuple]:
        try:
            for element in dataset:
                _hash_element(digest, element)
                yield _with_features(element, extractor, head, rows)
        except Exception as error:  # Dataset.save waits for ever for a stream that fails
            failed.append(error)

    inputs_spec = {
        name: dataset.element_spec[0].get(name)
        if name in dataset.element_spec[0]
        else tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in head.input.items()
    }
    signature = (inputs_spec, *dataset.element_spec[1:])
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        tf.data.Dataset.from_generator(elements, output_signature=signature).save(
            str(beside / ELEMENTS), shard_func=lambda *_: tf.constant(0, tf.int64)
        )
        if failed:
            raise failed[0]
        manifest = {**keys, "data": digest.hexdigest(), "features": list(extractor.output)}
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _load(folder: pathlib.Path, extractor: keras.Model) -> tf.data.Dataset:
    """Returns the elements of a cache, with the features named as they are now."""
    written = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["features"]
    names = dict(zip(written, extractor.output, strict=True))
    return tf.data.Dataset.load(str(folder / ELEMENTS)).map(
        lambda inputs, *parts: (
            {names.get(name, name): value for name, value in inputs.items()},
            *parts,
        )
    )


def _with_features(
    element: tuple, extractor: keras.Model, head: keras.Model, rows: Mapping[str, int]
) -> tuple:
    """Returns an element with the inputs of `head`."""
    inputs = {name: value for name, value in element[0].items() if name in head.input}
    for name, features in _run(extractor, element[0]).items():
        if name in head.input:
            shape = features.shape if rows[name] == 1 else (-1, rows[name], *features.shape[1:])
            inputs[name] = features.reshape(shape)
    return inputs, *element[1:]
