"""Gives untrained networks the statistics that training would have given them.

With random weights and the statistics that normalizations start with, signals fade from layer to
layer at inference, in MobileNetV2 by eight orders of magnitude: outputs then hardly depend on
inputs, and to compare them would say little.
"""


def set_in_keras(model, inputs):
    """Sets the statistics of all BatchNormalization layers to those of a batch."""
    import keras

    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def set_in_torch(model, inputs):
    """Sets the statistics of all BatchNorm layers to those of a batch; leaves the model's mode."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, training in modes:
        module.training = training
