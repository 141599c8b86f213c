"""Pieces of the graph that several builders have."""

from collections.abc import Mapping, Sequence

import keras

from mm_keras._checks import check_int, check_number, check_sizes
from mm_keras.layers import AlwaysPresent, ModalityDropout, SequencePooling, TrainingOutput
from mm_keras.models.heads import Head


def check_layers(
    width: int, hidden: Sequence[int], dropout: float, modality_dropout: float = 0.0
) -> None:
    """Checks the arguments of these names, which builders have in common."""
    check_int("width", width)
    check_sizes("hidden", hidden)
    check_number("dropout", dropout, below=1.0)
    check_number("modality_dropout", modality_dropout, below=1.0)


def named_output(x, name: str) -> keras.KerasTensor:
    """Returns `x` in float32, as the output of a layer of that name."""
    return keras.layers.Activation("linear", dtype="float32", name=name)(x)


def drop_modalities(features, masks, rate: float, seed: int | None) -> dict[str, keras.KerasTensor]:
    """Returns masks with whole modalities dropped in training, as they are where `rate` is 0."""
    if not rate:
        return masks
    everywhere = {
        name: AlwaysPresent(name=f"{name}_always_present")(sequence)
        for name, sequence in features.items()
        if name not in masks
    }
    dropout = ModalityDropout(rate, seed=seed, name="modality_dropout")
    return dropout({**masks, **everywhere})


def dense_layers(x, hidden: Sequence[int], dropout: float, seed: int | None, prefix: str = ""):
    """Dense layers with ReLU, and dropout before each and before what follows.

    `prefix` stands before the name of every layer.
    """
    for depth, units in enumerate(hidden, start=1):
        if dropout:
            x = keras.layers.Dropout(dropout, seed=seed, name=f"{prefix}dropout_{depth}")(x)
        x = keras.layers.Dense(units, activation="relu", name=f"{prefix}hidden_{depth}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=seed, name=f"{prefix}dropout")(x)
    return x


def add_heads(x, heads: Mapping[str, Head]) -> dict[str, keras.KerasTensor]:
    """Returns `{head name: (B, units)}` of features `(B, D)`, or of a sequence, which is pooled."""
    if len(x.shape) == 3:
        x = SequencePooling("mean", name="pooling")(x)
    return {name: head(x, name) for name, head in heads.items()}


def add_auxiliary_heads(features, masks, heads: Mapping[str, Head]) -> dict[str, keras.KerasTensor]:
    """Returns `{"<modality>_<head>": (B, units)}`: heads on each modality alone, for training."""
    outputs = {}
    for modality, sequence in features.items():
        pooling = SequencePooling("mean", name=f"{modality}_auxiliary_pooling")
        x = pooling(sequence, mask=masks.get(modality))
        for head_name, head in heads.items():
            name = f"{modality}_{head_name}"
            outputs[name] = TrainingOutput(name=name)(head(x, f"{name}_head"))
    return outputs
