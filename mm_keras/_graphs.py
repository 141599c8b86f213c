"""What several parts of the package ask of functional graphs."""

from collections.abc import Iterator

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
