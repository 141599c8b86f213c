"""Multi-channel networks: one extractor for each modality, features fused, then classified."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras.layers import GradientModulation, get_fusion
from mm_keras.modalities import Modality
from mm_keras.models.heads import Head, check_heads
from mm_keras.models.inputs import Groups, check_modalities, encode
from mm_keras.models.parts import (
    add_auxiliary_heads,
    add_heads,
    add_modulated_heads,
    check_layers,
    check_modulation,
    dense_layers,
    drop_modalities,
)


def build_mcnn(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    fusion: str | keras.layers.Layer = "concat",
    width: int = 128,
    pooling: str = "mean",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    auxiliary_heads: bool = False,
    gradient_modulation: float | GradientModulation = 0.0,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "mcnn",
) -> keras.Model:
    """Builds a network with one extractor per modality, a fusion layer and dense heads.

    `h_m = pool(f_m(x_m))`, `y = softmax(W fuse(h_1, …, h_M) + b)`: the family of late and
    intermediate fusion. Start here; every other system is measured against it.

    Args:
        modalities: `{name: spec}`, e.g. `{"image": mm.Image((96, 96, 3))}`. Inputs bear these
            names.
        num_classes: Number of classes of the output `"label"`; or a head (`mm.MultiLabel(5)`,
            `mm.Regression(1)`); or several, `{"digit": 10, "tags": mm.MultiLabel(5)}`.
        fusion: `"concat"`, `"sum"`, `"mean"`, `"max"`, `"gated"`, `"low_rank"`, `"tensor"`,
            `"cross_attention"`, or a layer that keeps the contract of `mm.layers.Fusion`. By name
            the layer is called `"fusion"`; one that you made keeps its own name.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, where
            `fusion` is a name.
        hidden: Widths of dense layers with ReLU between fusion and heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, as
            further outputs in training. `mm.inference_model` drops them.
        gradient_modulation: α of `mm.layers.GradientModulation`, which holds back the modality that
            is ahead, by the scores of the auxiliary heads; or such a layer; 0: none.
        share_backbone: Groups of modalities, e.g. `[("left", "right")]`, that share one backbone;
            `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to `{"label": (B, num_classes)}`.

    Raises:
        ValueError: For arguments that don't fit, before a graph is built.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn(
    ...     {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "audio": mm.Audio(4000, 8000)},
    ...     num_classes=10,
    ... )
    >>> sorted(model.input), sorted(model.output)
    (['audio', 'image'], ['label'])

    Reference: Ngiam et al., Multimodal Deep Learning, 2011; Liang et al., MultiBench, 2021; Peng et
    al., OGM-GE, 2022.
    """
    modalities = check_modalities(modalities)
    heads = check_heads(num_classes, modalities)
    check_layers(width, hidden, dropout, modality_dropout)
    modulation = check_modulation(gradient_modulation, auxiliary_heads, modalities, heads)
    fuse = get_fusion(fusion, pooling)

    inputs, features, masks = encode(modalities, width, share_backbone, share_encoder)
    masks = drop_modalities(features, masks, modality_dropout, seed)
    auxiliary = {}
    if modulation is not None:
        features, auxiliary = add_modulated_heads(features, masks, heads, modulation)
    elif auxiliary_heads:
        auxiliary = add_auxiliary_heads(features, masks, heads)
    x = fuse(features, mask=masks) if masks else fuse(features)
    outputs = add_heads(dense_layers(x, hidden, dropout, seed), heads)
    return keras.Model(inputs, outputs | auxiliary, name=name)
