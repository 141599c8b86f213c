"""Pieces of the graph that several builders have."""

from collections.abc import Mapping, Sequence

import keras

from mm_keras._checks import check_int, check_number, check_sizes
from mm_keras.layers import (
    AlwaysPresent,
    GradientModulation,
    ModalityDropout,
    SequencePooling,
    TrainingOutput,
)
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
    for modality in features:
        x = _auxiliary_features(features, masks, modality)
        for name, head in heads.items():
            outputs |= _auxiliary_output(
                modality, name, head, head.score(x, f"{modality}_{name}_head")
            )
    return outputs


def check_modulation(
    modulation: float | GradientModulation, auxiliary_heads: bool, modalities, heads
) -> GradientModulation | None:
    """Returns the layer of the argument `gradient_modulation`, or `None` for 0."""
    if not isinstance(modulation, GradientModulation):
        check_number("gradient_modulation", modulation)
        if not modulation:
            return None
        modulation = GradientModulation(modulation, name="gradient_modulation")
    if not auxiliary_heads or len(modalities) < 2 or len(heads) != 1:
        raise ValueError(
            "`gradient_modulation` must be 0 but with auxiliary_heads=True, which say how well "
            "each modality does, two modalities or more, and one head. Received: "
            f"auxiliary_heads={auxiliary_heads}, modalities {list(modalities)}, "
            f"heads {list(heads)}."
        )
    (head,) = heads.values()
    if head.activation != modulation.activation:
        raise ValueError(
            "`gradient_modulation` must have the activation of the head, which must be of classes "
            f"or labels. Received: {modulation.activation!r}, head {head!r}."
        )
    return modulation


def add_modulated_heads(features, masks, heads: Mapping[str, Head], modulation: GradientModulation):
    """Returns features whose gradient is modulated, and the auxiliary heads that say how much."""
    ((name, head),) = heads.items()
    scores = {
        modality: head.score(
            _auxiliary_features(features, masks, modality), f"{modality}_{name}_head"
        )
        for modality in features
    }
    masked = {"mask": masks} if masks else {}
    features, scores = modulation((features, scores), **masked)
    outputs = {}
    for modality, score in scores.items():
        outputs |= _auxiliary_output(modality, name, head, score)
    return features, outputs


def _auxiliary_features(features, masks, modality: str) -> keras.KerasTensor:
    pooling = SequencePooling("mean", name=f"{modality}_auxiliary_pooling")
    return pooling(features[modality], mask=masks.get(modality))


def _auxiliary_output(modality: str, name: str, head: Head, score) -> dict[str, keras.KerasTensor]:
    key = f"{modality}_{name}"
    return {key: TrainingOutput(name=key)(head.activate(score, f"{key}_head"))}
