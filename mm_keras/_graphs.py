"""What several parts of the package ask of functional graphs."""

import keras


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
