"""Graphs of finished models: the one that ships, and what it eats."""

from collections.abc import Sequence

import keras

from mm_keras._checks import check_choice
from mm_keras._graphs import keep_policy, needed_inputs
from mm_keras.layers import ModalityInput, TrainingOnly, TrainingOutput
from mm_keras.modalities import Modality


def inference_model(model: keras.Model, outputs: Sequence[str] | None = None) -> keras.Model:
    """Returns the graph that ships: the same layers and weights without what only training needs.

    Auxiliary outputs are dropped with their branches, and layers such as `ModalityDropout` are
    bypassed; inputs that no output depends on any longer, such as `pair_id`, are dropped too: feed
    none of these. Predictions don't change. Compiled again, a graph in `mixed_float16` scales its
    loss as the model did.

    Args:
        model: A functional model, from a builder of this package or made by hand.
        outputs: Names of the outputs to keep, of a model with a dict of them. `None`: all outputs
            that are not for training only.

    Raises:
        TypeError: If `model` is no functional model, or `outputs` no sequence of names.
        ValueError: If an output does not exist, or there is none.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_dml({"image": mm.Features(8), "audio": mm.Features(6)}, num_classes=10)
    >>> student = mm.inference_model(model, outputs=["image"])
    >>> list(student.input), list(student.output)
    (['image'], ['image'])
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise TypeError(
            "`model` must be a functional keras.Model, which a builder returns. "
            f"Received: {model!r} of type {type(model).__name__}."
        )

    if outputs is not None:
        _check_outputs(model, outputs)

    def bypass(layer, *args, **kwargs):
        if isinstance(layer, TrainingOnly) and not isinstance(layer, TrainingOutput):
            return args[0]
        return layer(*args, **kwargs)

    bypassed = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=bypass
    )
    inputs, kept = bypassed.input, bypassed.output
    if outputs is not None:
        kept = {name: kept[name] for name in outputs}
    elif isinstance(kept, dict):
        dropped = {layer.name for layer in model.layers if isinstance(layer, TrainingOutput)}
        kept = {name: output for name, output in kept.items() if name not in dropped}
    shipped = keras.Model(needed_inputs(inputs, kept), kept, name=model.name)
    keep_policy(shipped)
    return shipped


def _check_outputs(model: keras.Model, outputs: Sequence[str]) -> None:
    if isinstance(outputs, str) or not isinstance(outputs, Sequence):
        raise TypeError(
            f"`outputs` must be a sequence of names, e.g. ['label']. Received: outputs={outputs!r}."
        )
    if not isinstance(model.output, dict) or not outputs:
        raise ValueError(
            "`outputs` must have at least one name, of a model whose outputs are a dict. "
            f"Received: outputs={outputs!r}, outputs of the model {model.output!r}."
        )
    for name in outputs:
        check_choice("outputs", name, sorted(model.output))


def modalities_of(model: keras.Model) -> dict[str, Modality]:
    """Returns `{name: spec}` of a model's inputs, also of one loaded from a file.

    A text's spec carries its vocabulary, so that `modalities_of(model)["text"].vectorize(texts)`
    makes ids for a model that was trained elsewhere. A backbone that was passed as a
    `keras.Model` stands there as `"model:<name>"`; the model itself is the graph's layer
    `<modality>_backbone`.
    """
    suffix = "_input"
    return {
        layer.name.removesuffix(suffix): layer.spec
        for layer in model.layers
        if isinstance(layer, ModalityInput)
    }
