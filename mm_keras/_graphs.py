"""What several parts of the package ask of functional graphs."""

from collections.abc import Iterator, Mapping

import keras


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model, and those of the models within it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)


def needed_inputs(inputs, outputs):
    """Returns those of a dict of inputs that some output depends on."""
    if not isinstance(inputs, dict):
        return inputs
    for name in list(inputs):
        others = {key: tensor for key, tensor in inputs.items() if key != name}
        try:
            keras.Model(others, outputs)
        except ValueError:  # the graph is cut off from an input
            continue
        inputs = others
    return inputs


def layer_sources(model: keras.Model) -> dict[str, list[str]]:
    """Returns `{layer: layers it is fed by}` of a functional model, in the order of the graph."""
    return {
        layer["config"]["name"]: sorted(set(_sources(layer["inbound_nodes"])))
        for layer in model.get_config()["layers"]
    }


def _sources(nodes) -> Iterator[str]:
    """Yields the names of layers that a layer's serialised call arguments come from."""
    if isinstance(nodes, Mapping):
        if nodes.get("class_name") == "__keras_tensor__":
            yield nodes["config"]["keras_history"][0]
        else:
            yield from _sources(list(nodes.values()))
    elif isinstance(nodes, list | tuple):
        for node in nodes:
            yield from _sources(node)
