"""Cross-modal matching: similarities between modalities classify, joint embeddings retrieve."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_bool, check_choice, check_int, check_number
from mm_keras.layers import (
    AllPresent,
    AlwaysPresent,
    ContrastiveLearning,
    HardNegatives,
    MatchLoss,
    SequencePooling,
    Similarity,
    SimilarityAlignment,
    SimilarityPooling,
    UnitEmbedding,
    ZeroMasked,
    get_fusion,
)
from mm_keras.layers.contrastive_learning import check_anchor, check_contrast
from mm_keras.layers.similarity import SIMILARITIES
from mm_keras.modalities import Modality
from mm_keras.models.heads import Head, check_heads
from mm_keras.models.inputs import Groups, check_modalities, encode
from mm_keras.models.parts import (
    add_auxiliary_heads,
    add_heads,
    check_layers,
    dense_layers,
    drop_modalities,
)

EMBEDDING, SIMILARITY, MATCH = "_embedding", "_similarity", "_match"
PAIR_ID = "pair_id"
MATCHINGS = ("alignment", "statistics", "convolution")


def build_cmn(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head] | None,
    *,
    similarity: str = "cosine",
    matching: str = "alignment",
    similarities: bool = False,
    embedding: int | None = 128,
    contrastive: str | None = "info_nce",
    contrastive_weight: float = 1.0,
    temperature: float | None = None,
    margin: float = 0.2,
    anchor: str | None = None,
    pair_ids: bool = False,
    match: bool = False,
    match_weight: float = 1.0,
    fusion: str | keras.layers.Layer | None = "concat",
    width: int = 128,
    pooling: str = "mean",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    auxiliary_heads: bool = False,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "cmn",
) -> keras.Model:
    """Builds a network that compares modalities: for classes, for retrieval, or for both.

    Every position of one modality is compared with every position of the other, for all pairs of
    modalities: `S = s(f_a, f_b)`, `(B, N_a, N_b)`. What is read off these matrices, beside the
    fused features, feeds the classifier. For retrieval each modality also gets an embedding of
    length 1, `u = W pool(f) / ‖W pool(f)‖`; a contrastive loss over the batch, added in training,
    draws together those of one sample.

    To search, embed the gallery once and a query at a time, each with its own part of the model:
    `mm.inference_model(model, outputs=["image_embedding"])`, and rank by the dot product;
    `mm.evaluate.retrieval_metrics` measures it.

    Args:
        modalities: `{name: spec}`, two or more.
        num_classes: As in `build_mcnn`: a number of classes, a head, or a dict of either. `None`:
            no classifier, for retrieval alone; then `compile("adam")` and `fit(inputs)`.
        similarity: `"cosine"`, `"euclidean"`, `"dot"`, `"bilinear"`, `"relation"` or `"order"`, as
            in `mm.layers.Similarity`.
        matching: What the classifier sees of the matrix. `"alignment"`: products of each position
            with its counterpart, 2D numbers, see `mm.layers.SimilarityAlignment`; `"statistics"`
            or `"convolution"`: few numbers, of the matrix alone, see
            `mm.layers.SimilarityPooling`.
        similarities: Whether the matrices are outputs: `"<a>_<b>_similarity"`, names in order.
        embedding: Width E of the embeddings `"<name>_embedding"`; `None`: no embeddings, and so
            no contrastive loss. The model is then compiled and fed as one of `build_mcnn` is.
        contrastive: `"info_nce"`, `"siglip"`, `"vse"` or `"triplet"`, as in
            `mm.layers.ContrastiveLearning`; `None`: embeddings get no loss but yours. For `"vse"`
            use the callback `mm.training.HardNegativeWarmUp`.
        contrastive_weight: Of that loss.
        temperature: Of `"info_nce"` and `"siglip"` at the start, above 0; it is learnt.
        margin: Of `"vse"` and `"triplet"`, at least 0.
        anchor: The modality that all others meet: the contrastive loss is over its pairs only.
            `None`: over all pairs. For retrieval between one modality and many others, such as
            pictures and their names in several languages.
        pair_ids: Whether there is a further input in training, `"pair_id"`, `(B, 1)` integers:
            samples of one id, be it a class or an object, belong together. Without it every
            sample belongs to itself alone. `mm.inference_model` drops the input.
        match: Whether there is a head for each pair of modalities that says how probable it is that
            both belong together, `"<a>_<b>_match"`, `(B, 1)`; 0 where one is absent. It learns
            from hard negatives that the embeddings find in the batch.
        match_weight: Of the head's loss.
        fusion: As in `build_mcnn`; `None`: the classifier sees the similarities alone.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, for
            embeddings and for a fusion given by name.
        hidden: Widths of dense layers with ReLU before the heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, as
            further outputs in training. `mm.inference_model` drops them.
        share_backbone: Groups of modalities that share one backbone; `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout and draws.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to `{"label": (B, num_classes), "<name>_embedding":
        (B, E), …}`; embeddings are float32, zeros where absent. Compile it with a dict of losses,
        `{"label": mm.losses.classification()}`, and give labels as a dict. Where there are metrics
        too, Keras asks for labels of every output: zeros do for those that no loss reads.

    Raises:
        ValueError: For arguments that don't fit, before a graph is built.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_cmn({"image": mm.Features(8), "text": mm.Features((3, 6))}, None)
    >>> model.compile("adam", jit_compile=False)
    >>> x = {"image": np.random.rand(4, 8), "text": np.random.rand(4, 3, 6)}
    >>> history = model.fit(x, verbose=0)
    >>> images = mm.inference_model(model, outputs=["image_embedding"])
    >>> images.predict({"image": x["image"]}, verbose=0)["image_embedding"].shape
    (4, 128)

    Reference: Lee et al., Stacked Cross Attention, 2018; Radford et al., CLIP, 2021; Li et al.,
    Align before Fuse, 2021; Zhen et al., Deep Supervised Cross-modal Retrieval, 2019. A family of
    systems, not one paper's.
    """
    modalities = check_modalities(modalities)
    heads = {} if num_classes is None else check_heads(num_classes, modalities)
    pairs = _check_pairs(modalities, heads, pair_ids)
    check_choice("similarity", similarity, SIMILARITIES)
    check_choice("matching", matching, MATCHINGS)
    check_number("contrastive_weight", contrastive_weight)
    check_number("match_weight", match_weight)
    check_contrast(contrastive or "info_nce", temperature, margin, "contrastive")
    check_anchor(anchor, modalities)
    _check_flags(similarities=similarities, pair_ids=pair_ids, match=match)
    _check_embedding(embedding, contrastive, heads, pair_ids, match)
    check_layers(width, hidden, dropout, modality_dropout)
    fuse = None if fusion is None else get_fusion(fusion, pooling)
    SequencePooling(pooling)  # raises for an unknown one

    inputs, features, masks = encode(modalities, width, share_backbone, share_encoder)
    ids = {}
    if pair_ids:
        inputs[PAIR_ID] = keras.Input((1,), dtype="int32", name=PAIR_ID)
        ids = {"ids": inputs[PAIR_ID]}
    outputs = add_auxiliary_heads(features, masks, heads) if auxiliary_heads else {}
    masks = drop_modalities(features, masks, modality_dropout, seed)
    masked = {"mask": masks} if masks else {}
    matrices, parts = {}, []
    for pair in pairs if heads or similarities else []:
        matrices[pair] = Similarity(similarity, name="_".join(pair) + SIMILARITY)(
            _of(pair, features), **_masked(pair, masks)
        )
    for pair in pairs if heads else []:
        parts.append(_read(matching, pair, features, matrices[pair], masks))
    if heads:
        if fuse is not None:
            fused = fuse(features, **masked)
            if len(fused.shape) == 3:
                fused = SequencePooling("mean", name="pooling")(fused)
            parts.append(fused)
        x = keras.layers.Concatenate(name="matched")(parts) if len(parts) > 1 else parts[0]
        outputs |= add_heads(dense_layers(x, hidden, dropout, seed), heads)
    if similarities:
        outputs |= {"_".join(pair) + SIMILARITY: matrix for pair, matrix in matrices.items()}
    if embedding:
        embeddings = _embed(features, masks, embedding, pooling)
        if contrastive:
            contrast = ContrastiveLearning(
                contrastive, contrastive_weight, temperature, margin, anchor=anchor, name="contrast"
            )
            embeddings = contrast(embeddings, **masked, **ids)
        if match:
            for index, pair in enumerate(pairs):
                own_seed = None if seed is None else seed + index
                found = _match(pair, embeddings, masks, ids, match_weight, own_seed)
                outputs["_".join(pair) + MATCH] = found
        outputs |= {key + EMBEDDING: vector for key, vector in embeddings.items()}
    return keras.Model(inputs, outputs, name=name)


def _check_pairs(modalities, heads, pair_ids) -> list[tuple[str, str]]:
    """Returns the pairs of names after a check that whatever is made of them has a name."""
    if len(modalities) < 2:
        raise ValueError(
            "`modalities` must be two or more, which are matched. For one, use mm.build_mcnn. "
            f"Received: modalities={list(modalities)}."
        )
    pairs = list(itertools.combinations(modalities, 2))
    made = ["_".join(pair) + suffix for pair in pairs for suffix in (SIMILARITY, MATCH)]
    made += [name + EMBEDDING for name in modalities]
    made += [PAIR_ID] if pair_ids else []
    names = [*modalities, *heads, *made]
    taken = sorted({key for key in names if names.count(key) > 1})
    if taken:
        raise ValueError(
            "`modalities` and `num_classes` must leave the names of further inputs and outputs, "
            f"'<name>_embedding' and the like, to these. Received twice: {taken}."
        )
    return pairs


def _check_flags(**flags) -> None:
    for argument, value in flags.items():
        check_bool(argument, value)


def _check_embedding(embedding, contrastive, heads, pair_ids, match) -> None:
    if embedding is None:
        needed = {"pair_ids": pair_ids, "match": match}
        for argument in [argument for argument, value in needed.items() if value]:
            raise ValueError(
                f"`{argument}` must be False without embeddings, which it serves. "
                f"Received: {argument}=True, embedding=None."
            )
    else:
        check_int("embedding", embedding, minimum=2)  # of length 1, one number is a mere sign
    if pair_ids and contrastive is None and not match:
        raise ValueError(
            "`pair_ids` must be False where no loss reads the ids. "
            "Received: pair_ids=True, contrastive=None, match=False."
        )
    if not heads and (embedding is None or (contrastive is None and not match)):
        raise ValueError(
            "`num_classes` must not be None where nothing else is trained: give it, or embeddings "
            f"with a contrastive loss. Received: num_classes=None, embedding={embedding}, "
            f"contrastive={contrastive!r}."
        )


def _of(pair, tensors) -> dict:
    return {key: tensors[key] for key in pair if key in tensors}


def _masked(pair, masks) -> dict:
    return {"mask": _of(pair, masks)} if _of(pair, masks) else {}


def _read(matching, pair, features, matrix, masks):
    """Returns what the classifier sees of a similarity matrix, `(B, F)`."""
    name = "_".join(pair) + "_" + matching
    if matching == "alignment":
        align = SimilarityAlignment(name=name)
        return align(_of(pair, features), matrix, **_masked(pair, masks))
    sides = zip(("rows", "columns"), pair, strict=True)
    given = {side: masks[key] for side, key in sides if key in masks}
    return SimilarityPooling(matching, name=name)(matrix, **given)


def _embed(features, masks, width, pooling) -> dict[str, keras.KerasTensor]:
    """Returns `{name: (B, E)}` of length 1."""
    embeddings = {}
    for key, sequence in features.items():
        mask = masks.get(key)
        x = SequencePooling(pooling, name=f"{key}_embedding_pooling")(sequence, mask=mask)
        x = keras.layers.Dense(width, name=f"{key}_embedding_projection")(x)
        embeddings[key] = UnitEmbedding(name=key + EMBEDDING)(x, mask=mask)
    return embeddings


def _match(pair, embeddings, masks, ids, weight, seed):
    """Returns how probable it is that both belong together, `(B, 1)`."""
    prefix = "_".join(pair) + MATCH
    u, v = (embeddings[key] for key in pair)
    given = [masks[key] for key in pair if key in masks]
    present = (
        AllPresent(name=f"{prefix}_present")(given)
        if given
        else AlwaysPresent(name=f"{prefix}_present")(u)
    )
    negatives = HardNegatives(seed=seed, name=f"{prefix}_negatives")
    many_u, many_v, kept = negatives([u, v, present], **ids)
    product = keras.layers.Multiply(name=f"{prefix}_product")([many_u, many_v])
    x = keras.layers.Concatenate(name=f"{prefix}_features")([many_u, many_v, product])
    x = keras.layers.Dense(u.shape[-1], activation="relu", name=f"{prefix}_hidden")(x)
    x = keras.layers.Dense(1, dtype="float32", name=f"{prefix}_logits")(x)
    x = MatchLoss(weight, name=f"{prefix}_loss")(x, kept)
    x = keras.layers.Activation("sigmoid", dtype="float32", name=f"{prefix}_probability")(x)
    return ZeroMasked(dtype="float32", name=prefix)(x, present)
