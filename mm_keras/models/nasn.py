"""Non-local networks across modalities: positions of all modalities attend to each other."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_bool, check_int
from mm_keras.layers import CrossModalNonLocal, PositionEmbedding, get_fusion
from mm_keras.modalities import Modality
from mm_keras.models.heads import Head, check_heads
from mm_keras.models.inputs import Groups, check_modalities, encode
from mm_keras.models.parts import (
    add_auxiliary_heads,
    add_heads,
    check_layers,
    dense_layers,
    drop_modalities,
    named_output,
)

ATTENTION = "_attention"


def build_nasn(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    scope: str = "joint",
    form: str = "embedded_gaussian",
    heads: int = 1,
    inner_width: int | None = None,
    scale: bool | None = None,
    symmetric: bool = False,
    subsample: int = 1,
    normalization: str | None = "layer",
    blocks: int = 1,
    chunk: int | None = None,
    positions: bool = True,
    attention: bool = False,
    fusion: str | keras.layers.Layer = "concat",
    width: int = 128,
    pooling: str = "attention",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    auxiliary_heads: bool = False,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "nasn",
) -> keras.Model:
    """Builds a network in which features of all modalities attend to each other before pooling.

    `z_i = a_i + norm(W Σ_j f(a_i, b_j) g(b_j) / C)`, i over the positions of a modality, j over
    those of all modalities or of the others; then attention pools the positions into a new
    representation. Reach for it where what matters is which part of one modality goes with which
    part of another: lips and voice, a word and a region. Each modality needs its positions for
    that: `mm.Video(…, temporal=None)` keeps its frames, pictures and sound keep their maps.

    It holds B · heads · N_a · N_b numbers for each block, some times over in training; with `chunk`
    B · heads · chunk · N_b. `subsample` divides N_b.

    Args:
        modalities: `{name: spec}`. Inputs bear these names.
        num_classes: As in `build_mcnn`: a number of classes, a head, or a dict of either.
        scope: Where a position's context comes from: `"joint"`, all positions of all modalities;
            `"cross"`, those of the other modalities; `"self"`, those of its own.
        form: `"embedded_gaussian"`, `"gaussian"`, `"dot_product"` or `"concatenation"`, as in
            `mm.layers.NonLocalBlock`.
        heads: Number of heads; divides `inner_width`, and `width` for `"gaussian"`.
        inner_width: Width of the embeddings in the blocks; `None`: half of `width`.
        scale: Whether dot products are divided by √d, d the width of a head. `None`: where they go
            into a softmax. The paper's forms: `False`.
        symmetric: Whether queries and keys have one embedding.
        subsample: Number of consecutive keys that become one by a maximum.
        normalization: Of what a block adds, its scale zero at the start: `"layer"`; `"batch"`, the
            paper's, for large batches; or `None`.
        blocks: Number of non-local blocks, one after the other.
        chunk: Number of queries at a time, which bounds the memory; `None`: all of them.
        positions: Whether a learnt vector is added to each position: a block knows no order.
        attention: Whether each modality has a further output `"<name>_attention"`,
            `(B, heads, N, K)`: the attention map of the last block, as
            `mm.layers.CrossModalNonLocal` returns it. Compile the model with a dict of losses then,
            `{"label": …}`.
        fusion: As in `build_mcnn`: what joins the modalities. `"joint"` pools all positions of all
            modalities against each other.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, where
            `fusion` is a name.
        hidden: Widths of dense layers with ReLU between fusion and heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, on its
            features before the blocks, as further outputs in training. `mm.inference_model` drops
            them.
        share_backbone: Groups of modalities that share one backbone; `True`: all of them.
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
    >>> model = mm.build_nasn(
    ...     {
    ...         "lips": mm.Video(16, (8, 8, 1), backbone="SmallCNN", temporal=None),
    ...         "voice": mm.Audio(4000, 8000),
    ...     },
    ...     num_classes=10,
    ...     scope="cross",
    ...     attention=True,
    ... )
    >>> {name: tuple(output.shape) for name, output in sorted(model.output.items())}
    {'label': (None, 10), 'lips_attention': (None, 1, 16, 48), 'voice_attention': (None, 1, 48, 16)}

    Reference: Wang et al., Non-local Neural Networks, 2018. Across modalities it is a family of
    systems, not one paper's.
    """
    modalities = check_modalities(modalities)
    heads_out = check_heads(num_classes, modalities)
    check_int("blocks", blocks)
    check_bool("positions", positions)
    _check_attention(attention, chunk, modalities, heads_out)
    check_layers(width, hidden, dropout, modality_dropout)
    fuse = get_fusion(fusion, pooling)
    stack = [
        CrossModalNonLocal(
            scope,
            form,
            heads,
            inner_width,
            scale,
            symmetric,
            subsample,
            normalization,
            chunk,
            name=f"non_local_{depth}",
        )
        for depth in range(1, blocks + 1)
    ]
    stack[0].check_width(width)
    if scope == "cross" and len(modalities) < 2:
        raise ValueError(
            "`scope` must be 'joint' or 'self' where there is one modality, which has no others to "
            f"attend to. Received: scope='cross', modalities {list(modalities)}."
        )

    inputs, features, masks = encode(modalities, width, share_backbone, share_encoder)
    outputs = add_auxiliary_heads(features, masks, heads_out) if auxiliary_heads else {}
    masks = drop_modalities(features, masks, modality_dropout, seed)
    masked = {"mask": masks} if masks else {}
    if positions:
        features = {
            key: PositionEmbedding(name=f"{key}_position")(x) for key, x in features.items()
        }
    for block in stack[:-1]:
        features = block(features, **masked)
    if attention:
        features, maps = stack[-1](features, return_attention=True, **masked)
        for key, weights in maps.items():
            output = key + ATTENTION
            outputs[output] = named_output(weights, output)
    else:
        features = stack[-1](features, **masked)
    x = fuse(features, **masked)
    outputs |= add_heads(dense_layers(x, hidden, dropout, seed), heads_out)
    return keras.Model(inputs, outputs, name=name)


def _check_attention(attention, chunk, modalities, heads) -> None:
    check_bool("attention", attention)
    if attention and chunk is not None:
        raise ValueError(
            "`attention` must be False with `chunk`, which is there so that whole attention maps "
            f"never are. Received: attention=True, chunk={chunk}. The same weights serve a model "
            "without chunk."
        )
    taken = sorted({key + ATTENTION for key in modalities} & {*modalities, *heads})
    if attention and taken:
        raise ValueError(
            "`attention` must be False where a head or a modality is named as its output would be. "
            f"Received names: {taken}."
        )
