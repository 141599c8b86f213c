"""Functional Keras 3 graphs: checks, walks and copies."""

import tempfile
from collections.abc import Iterator

import keras

from mm_keras._graphs import is_graph, plain_model


def check_functional(model: keras.Model) -> None:
    """Raises unless a model is a functional graph, without Lambda layers, all the way down."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Compression needs TensorFlow as the backend of Keras: set KERAS_BACKEND=tensorflow "
            f"and load the model anew. Received: {keras.backend.backend()!r}."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a functional keras.Model of Keras 3, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    for part, path in walk(model):
        if isinstance(part, keras.Model) and not is_graph(part):
            built = isinstance(part, keras.Sequential)
            raise ValueError(
                "`model` must be functional, made of layers between keras.Input and outputs: "
                + ("call `build` of a Sequential model first. " if built else "")
                + f"Received: {path!r}, which is {'unbuilt' if built else 'a subclassed model'} "
                f"({type(part).__name__})."
            )
        if type(part).__name__ == "Lambda" and isinstance(part, keras.layers.Layer):
            raise ValueError(
                "`model` must have no Lambda layers, whose code cannot be copied safely: make it "
                "a registered layer of its own, or use keras.ops. "
                f"Received: the layer {path!r}."
            )


def walk(
    model: keras.Model, wrapped: bool = True, prefix: str = ""
) -> Iterator[tuple[keras.layers.Layer, str]]:
    """Yields every layer and nested model with its path: its name after those it is nested in.

    Args:
        model: A functional model.
        wrapped: Whether to go into wrappers such as `TimeDistributed`, too.
        prefix: Stands before every path.
    """
    if not prefix:
        yield model, model.name
    for layer in model.layers if isinstance(model, keras.Model) else [model.layer]:
        path = f"{prefix}{layer.name}"
        yield layer, path
        is_wrapper = isinstance(getattr(layer, "layer", None), keras.layers.Layer)
        if (is_wrapper and wrapped) or (isinstance(layer, keras.Model) and is_graph(layer)):
            yield from walk(layer, wrapped, path + "/")


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a copy with the same names and weights, not compiled.

    Shared layers stay shared, in nested models too; vocabularies come along.
    """
    plain = plain_model(model)
    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}

    def clone(layer):
        if not isinstance(layer, keras.layers.Layer):  # operations have no state
            return layer
        if id(layer) not in copies:
            copies[id(layer)] = layer, type(layer).from_config(layer.get_config())
        return copies[id(layer)][1]

    copied = keras.models.clone_model(plain, clone_function=clone, recursive=True)
    copied.set_weights(plain.get_weights())
    for layer, new in copies.values():
        _copy_state(layer, new)
    return copied


def _copy_state(layer: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copies what a layer keeps in files of its own, or derives from its weights."""
    if type(layer).load_own_variables is not keras.layers.Layer.load_own_variables:
        store = {}
        layer.save_own_variables(store)
        new.load_own_variables(store)
    if hasattr(layer, "save_assets"):  # vocabularies
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            new.load_assets(folder)
