"""Multi-view networks: a CNN on each view, features pooled across the views, then classified."""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_bool, check_choice, check_number
from mm_keras.encoders import ENCODERS, CutAfter, MultiViewEncoder
from mm_keras.layers import get_fusion
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from mm_keras.modalities import Modality, Views
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

SALIENCY = "_saliency"


def build_mvcnn(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    view_pooling: str | keras.layers.Layer = "max",
    pool_after: str | None = None,
    view_dropout: float = 0.0,
    saliency: bool = False,
    fusion: str | keras.layers.Layer = "concat",
    width: int = 128,
    pooling: str = "mean",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    auxiliary_heads: bool = False,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "mvcnn",
) -> keras.Model:
    """Builds a network that pools the features of several views of an object.

    `h = CNN2(pool_v CNN1(x_v))`, `y = softmax(W fuse(h, …) + b)`. The backbone of a modality of
    type `mm.Views` is CNN1, followed by CNN2 where `pool_after` cuts it; all views go through it
    in one call, or each through one of its own (`mm.Views(…, shared=False)`). Further modalities
    are encoded as ever and fused with the pooled views.

    Views may be missing, `mm.Views(…, optional_views=True)`: the input `<name>_present` is then
    `(B, V)` bool, and absent views have no weight. Where the views share a backbone, the weights
    depend on neither V nor the order: `mm.with_views(model, 3)` is the same network for three
    views. It predicts as well as with many if it learnt with few: see `view_dropout`.

    The paper trains in two stages, a CNN on single views first and the network of views from it:
    `mm.with_views(model, 1)` is that CNN, its head included, as in the example. Or take one that is
    trained, from `build_mcnn` with the same options, for `"max"`, `"mean"` and `"logsumexp"`:
    `model.set_weights(cnn.get_weights())`. With `shared=False` its backbone goes into each view's,
    `<name>_backbone`, `<name>_backbone_1`, ….

    Compare it with that first stage, its scores averaged over the views: on pictures with
    independent noise that, or `"mean"`, often wins over `"max"`.

    Args:
        modalities: `{name: spec}`, at least one an `mm.Views`.
        num_classes: As in `build_mcnn`.
        view_pooling: `"max"`, `"mean"`, `"logsumexp"`, `"attention"` or `"group"`, or an
            `mm.layers.ViewPooling`: how views become one.
        pool_after: Name of the layer of the backbone after which views are pooled, e.g.
            `"stage2_pool"` of `"SmallCNN"`; all of the graph must pass through it. `None`: after
            the last layer, on the backbone's feature map.
        view_dropout: Rate at which single views are dropped in training, in [0, 1); at least one
            stays. Use it where the model will see fewer views than it is trained with.
        saliency: Whether each `mm.Views` has a further output `"<name>_saliency"`, `(B, V)`: the
            share of each view in the pooled features, see `mm.layers.ViewPooling`.
        fusion: As in `build_mcnn`.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, where
            `fusion` is a name.
        hidden: Widths of dense layers with ReLU between fusion and heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, as
            further outputs in training. `mm.inference_model` drops them.
        share_backbone: Groups of modalities, e.g. `[("left", "right")]`, that share one backbone;
            `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to `{"label": (B, num_classes)}`.

    Raises:
        ValueError: For arguments that don't fit.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> pictures = np.random.uniform(0, 255, (4, 3, 8, 8, 1))  # 4 objects, 3 views of each
    >>> labels = np.array([0, 1, 0, 1])
    >>> model = mm.build_mvcnn({"views": mm.Views(3, (8, 8, 1), backbone="SmallCNN")}, 2)
    >>> cnn = mm.with_views(model, 1)  # the same weights
    >>> cnn.compile("adam", mm.losses.classification())
    >>> single = {"views": pictures.reshape(-1, 1, 8, 8, 1)}
    >>> history = cnn.fit(single, np.repeat(labels, 3), verbose=0)
    >>> model.compile("adam", mm.losses.classification())
    >>> history = model.fit({"views": pictures}, labels, verbose=0)
    >>> model.predict({"views": pictures}, verbose=0)["label"].shape
    (4, 2)

    Reference: Su et al., Multi-view Convolutional Neural Networks for 3D Shape Recognition, 2015.
    """
    modalities = check_modalities(modalities)
    heads = check_heads(num_classes, modalities)
    views = [key for key, spec in modalities.items() if isinstance(spec, Views)]
    _check_views(modalities, views, heads, view_pooling, pool_after, saliency)
    check_number("view_dropout", view_dropout, below=1.0)
    check_layers(width, hidden, dropout, modality_dropout)
    fuse = get_fusion(fusion, pooling)

    saliencies = [] if saliency else None
    make_views = functools.partial(
        MultiViewEncoder,
        cut=CutAfter(pool_after),
        view_pooling=view_pooling,
        view_dropout=view_dropout,
        seeds=itertools.repeat(None) if seed is None else itertools.count(seed + 1),
        saliencies=saliencies,
    )
    encoders = {**ENCODERS, Views: make_views}
    inputs, features, masks = encode(modalities, width, share_backbone, share_encoder, encoders)
    _check_apart(modalities, share_backbone, pool_after)  # `encode` has checked the groups
    masks = drop_modalities(features, masks, modality_dropout, seed)
    x = fuse(features, mask=masks) if masks else fuse(features)
    outputs = add_heads(dense_layers(x, hidden, dropout, seed), heads)
    if auxiliary_heads:
        outputs |= add_auxiliary_heads(features, masks, heads)
    for key, share in zip(views, saliencies or [], strict=saliency):  # in the order of encoding
        output = key + SALIENCY
        outputs[output] = named_output(share, output)
    return keras.Model(inputs, outputs, name=name)


def _check_views(modalities, views, heads, view_pooling, pool_after, saliency) -> None:
    if not views:
        kinds = {key: type(spec).__name__ for key, spec in modalities.items()}
        raise ValueError(
            "`modalities` must have at least one mm.Views, e.g. {'views': mm.Views(12, "
            f"(96, 96, 3))}}. Received: {kinds}."
        )
    if not isinstance(view_pooling, keras.layers.Layer):
        check_choice("view_pooling", view_pooling, VIEW_POOLINGS)
    if pool_after is not None and not isinstance(pool_after, str):
        raise TypeError(
            "`pool_after` must be the name of a layer of the backbone, or None. "
            f"Received: pool_after={pool_after!r}."
        )
    check_bool("saliency", saliency)
    taken = sorted({key + SALIENCY for key in views} & {*modalities, *heads})
    if saliency and taken:
        raise ValueError(
            "`saliency` must be False where a head or a modality is named as its output would be. "
            f"Received names: {taken}."
        )


def _check_apart(modalities, share_backbone: Groups, pool_after: str | None) -> None:
    """Raises where a backbone would be in the graph both cut and whole: a file would hold two."""
    if pool_after is None:
        return
    groups = [tuple(modalities)] if share_backbone is True else list(share_backbone or [])
    by_model: dict[int, list[str]] = {}
    for key, spec in modalities.items():
        if isinstance(getattr(spec, "backbone", None), keras.Model):
            by_model.setdefault(id(spec.backbone), []).append(key)
    for group in [*groups, *by_model.values()]:
        if len({isinstance(modalities[key], Views) for key in group}) > 1:
            raise ValueError(
                "`pool_after` must be None where views share their backbone with modalities of "
                "other types, which need it whole. "
                f"Received: pool_after={pool_after!r}, of which one backbone: {list(group)}."
            )
