"""Checks that the networks of the three libraries are one, before their speed is compared.

TensorFlow and PyTorch are both loaded: in a process of its own.
"""

import importlib

import numpy as np

TOLERANCE = 1e-4


def check(network, torch_too=True, options=None):
    """Raises unless the networks agree; returns the parameters of each, statistics included.

    In numbers of parameters, and in outputs for the same weights and inputs, as at inference and as
    in training (which normalises by the batch). The one exception is mm_keras' network for
    AV-MNIST, which has projections that the others lack: it must differ by their parameters.

    Args:
        network: Name of a function of `mm_models`, `keras_models` and `torch_models`.
        torch_too: Whether PyTorch is there to be compared.
        options: Of the network in PyTorch.
    """
    hand = getattr(importlib.import_module("keras_models"), network)()
    ours = getattr(importlib.import_module("mm_models"), network)()
    largest = 1.0 if network == "av_mnist" else 255.0
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0, largest, (4, *x.shape[1:])).astype("float32") for x in hand.inputs]
    counts = {"mm_keras": ours.count_params(), "Keras": hand.count_params()}
    if network == "av_mnist":
        names = [f"{x.name}_projection" for x in hand.inputs]
        more = sum(ours.get_layer(name).count_params() for name in names)
        agree("parameters of mm_keras", counts["Keras"] + more, counts["mm_keras"])
    else:
        agree("parameters of mm_keras", counts["Keras"], counts["mm_keras"])
        ours.set_weights(hand.get_weights())
        named = {x.name: value for x, value in zip(hand.inputs, inputs, strict=True)}
        for training in (False, True):
            output = ours(named, training=training)["label"]
            agree("outputs of mm_keras", hand(inputs, training=training), output)
    if torch_too:
        counts["PyTorch"] = check_torch(network, options or {}, hand, inputs)
    return counts


def check_torch(network, options, hand, inputs):
    """Raises unless the network in PyTorch agrees with the one by hand; returns its parameters."""
    import torch

    model = getattr(importlib.import_module("torch_models"), network)(**options)
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    count = sum(tensor.numel() for tensor in state.values())
    agree("parameters of PyTorch", hand.count_params(), count)
    for weight, tensor in zip(hand.get_weights(), state.values(), strict=True):
        if weight.ndim == 4:  # height, width, in, out; of a depthwise convolution the last is 1
            depthwise = tensor.shape[1] == 1 and weight.shape[3] == 1 != weight.shape[2]
            weight = weight.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        elif weight.ndim == 2:
            weight = weight.T
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
    pictures = [torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x in inputs]
    for training in (False, True):
        with torch.no_grad():
            output = torch.softmax(model.train(training)(pictures), 1).numpy()
        agree("outputs of PyTorch", hand(inputs, training=training), output)
    return count


def agree(what, expected, found):
    """Raises unless two numbers or arrays are equal but for rounding."""
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or np.abs(expected - found).max() > TOLERANCE:
        raise ValueError(f"The {what} must be those by hand, {expected}. Received: {found}.")
