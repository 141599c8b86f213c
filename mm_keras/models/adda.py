"""The second phase of ADDA: a copy of a trained encoder learns to make the same of other data."""

from collections.abc import Sequence

import keras

from mm_keras._checks import check_choice, check_number, check_sizes
from mm_keras.layers import AdversarialAlignment
from mm_keras.models.inference import inference_model

SOURCE = "_source"


def build_adda(
    model: keras.Model,
    *,
    features: str | None = None,
    hidden: Sequence[int] = (64,),
    rate: float = 0.01,
    name: str = "adda",
) -> keras.Model:
    """Builds the second phase of ADDA from a model that was trained on the source.

    1. Train a model of `mm.build_mcnn`, say, on the source: encoder F_s and classifier C.
    2. `adda = mm.build_adda(model)`, `adda.compile(keras.optimizers.SGD(0.1, momentum=0.9))`, and
       `adda.fit(mm.data.domain_pairs(source, target))`: F_t starts as a copy of F_s; a
       discriminator learns to tell F_s of the source from F_t of the target, and F_t learns, from
       inverted labels, to make it fail. F_s and C stay as they are. There is no label to give.
    3. `mm.inference_model(adda)` is C(F_t(x)).

    No gradient is reversed: `mm.layers.AdversarialAlignment` adds both losses. `model` itself does
    not change: all of it is copied. F_t collapses, or swaps classes, unless it learns far more
    slowly than the discriminator: leave `rate` small and the optimizer SGD, and watch the scores of
    `mm.training.SelectEpoch`.

    Args:
        model: A functional model with dicts of inputs and outputs, trained on the source.
        features: Name of the layer whose output the discriminator sees, `(B, D)`: all paths from
            inputs to outputs pass through it. `None`: what enters the layers
            `"<output>_logits"`, as builders name them.
        hidden: Widths of the discriminator's dense layers with ReLU.
        rate: Learning rate of F_t over that of the discriminator, with SGD.
        name: Of the model.

    Returns:
        A `keras.Model` from the inputs of `model`, for the target, and `"<input>_source"` for each,
        for the source, to the outputs of `model`.

    Raises:
        TypeError: If `model` is no functional model.
        ValueError: For arguments that don't fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=8)
    >>> model.compile("adam", mm.losses.classification())
    >>> history = model.fit({"a": np.ones((8, 4))}, np.zeros(8), verbose=0)
    >>> adda = mm.build_adda(model)
    >>> adda.compile("sgd")
    >>> history = adda.fit({"a": np.zeros((8, 4)), "a_source": np.ones((8, 4))}, verbose=0)
    >>> sorted(mm.inference_model(adda).input)
    ['a']

    Reference: Tzeng et al., Adversarial Discriminative Domain Adaptation, 2017.
    """
    shipped = inference_model(model)  # raises for what is no functional model
    if not isinstance(shipped.input, dict) or not isinstance(shipped.output, dict):
        raise ValueError(
            "`model` must have dicts of inputs and outputs, as builders make them. "
            f"Received: {model.name!r}."
        )
    check_sizes("hidden", hidden)
    check_number("rate", rate)
    taken = sorted(key + SOURCE for key in shipped.input if key + SOURCE in shipped.input)
    if taken:
        raise ValueError(
            "`model` must not have an input named as that of another for the source would be. "
            f"Received: {taken}."
        )
    shipped, tensor = _features_of(shipped, features)
    encoder = keras.Model(shipped.input, tensor, name="encoder")
    try:
        classifier = keras.Model(tensor, shipped.output, name="classifier")
    except ValueError as error:
        raise ValueError(
            "`features` must name a layer that all paths from inputs to outputs pass through. "
            f"Received: features={features!r}."
        ) from error

    before = _copy(encoder, "source_encoder", trainable=False)
    after = _copy(encoder, "target_encoder")
    classify = _copy(classifier, "classifier", trainable=False)
    inputs = {
        key + suffix: keras.Input(x.shape[1:], dtype=x.dtype, name=key + suffix)
        for suffix in ("", SOURCE)
        for key, x in shipped.input.items()
    }
    target = after({key: inputs[key] for key in shipped.input})
    source = before({key: inputs[key + SOURCE] for key in shipped.input}, training=False)
    align = AdversarialAlignment(hidden, rate, name="alignment")
    outputs = classify(align(target, source=source), training=False)
    return keras.Model(inputs, outputs, name=name)


def _features_of(model: keras.Model, features: str | None):
    """Returns the graph, called anew, and the tensor of the features in it."""
    entering, leaving = {}, {}

    def record(layer, *args, **kwargs):
        entering[layer.name] = args[0]
        leaving[layer.name] = outputs = layer(*args, **kwargs)
        return outputs

    graph = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=record
    )
    if features is not None:
        check_choice("features", features, list(leaving))
        tensor = leaving[features]
    else:
        heads = [f"{output}_logits" for output in model.output]
        tensors = [entering[head] for head in heads if head in entering]
        if len(tensors) < len(heads) or len({id(x) for x in tensors}) != 1:
            raise ValueError(
                "`features` must be the name of a layer where outputs don't come, all from the "
                f"same features, from layers {heads}. Received: features=None."
            )
        tensor = tensors[0]
    if not isinstance(tensor, keras.KerasTensor) or len(tensor.shape) != 2:
        raise ValueError(
            "`features` must name a layer with one output of shape (B, D). "
            f"Received: features={features!r}, whose output is {tensor}."
        )
    return graph, tensor


def _copy(model: keras.Model, name: str, trainable: bool = True) -> keras.Model:
    clone = keras.models.clone_model(model)
    clone = keras.Model(clone.input, clone.output, name=name)
    clone.set_weights(model.get_weights())
    if not trainable:
        clone.trainable = False
    return clone
