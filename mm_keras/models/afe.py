"""Adversarial feature learning: features that serve another domain, without labels of it."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_bool, check_choice, check_int, check_number, check_sizes
from mm_keras.layers import (
    ConditionalFeatures,
    DomainWeighting,
    GradientReversal,
    SequencePooling,
    TrainingOutput,
    get_fusion,
)
from mm_keras.modalities import Modality
from mm_keras.models.heads import Classification, Head, check_heads
from mm_keras.models.inputs import Groups, check_modalities, encode
from mm_keras.models.parts import (
    add_auxiliary_heads,
    add_heads,
    check_layers,
    dense_layers,
    drop_modalities,
    named_output,
)

METHODS = ("dann", "cdan", "mmd")
ALIGNMENTS = ("fused", "each")
DOMAIN = "domain"


def build_afe(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    method: str = "dann",
    domains: int = 2,
    align: str = "fused",
    entropy_conditioning: bool = False,
    adapt_predictions: bool = False,
    reversal: float = 1.0,
    domain_hidden: Sequence[int] = (64,),
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
    name: str = "afe",
) -> keras.Model:
    """Builds a network whose features are learnt from a source and aligned to a target domain.

    `CE(C(F(x)), y)` on the source, `CE(D(R_λ(F(x))), domain)` on all samples: R reverses the
    gradient, so that the discriminator D learns to tell the domains apart, and the features F to
    be the same in both. The target needs no labels. `mm.data.domain_batches(source, target)` makes
    the batches, in which target labels weigh nothing, and the callback
    `mm.training.ReversalSchedule` raises λ from 0. What serves training only, the discriminator
    with it, is dropped by `mm.inference_model`.

    BatchNormalization in the backbone sees both domains in each batch and so mixes their
    statistics; `domain_batches(…, mixed=False)` keeps them apart. Choose the epoch without target
    labels, by the callback `mm.training.SelectEpoch`. `mm.build_adda` is another way, in two
    phases.

    Args:
        modalities: `{name: spec}`. Inputs bear these names.
        num_classes: Number of classes of the output `"label"`; or a head; or several,
            `{"digit": 10, "tags": mm.MultiLabel(5)}`.
        method: `"dann"`: the discriminator sees features; `"cdan"`: features ⊗ predictions, so that
            classes are aligned; `"mmd"`: none, the features are an output for the loss
            `mm.losses.MaximumMeanDiscrepancy`.
        domains: Number of domains: sources and, the last, the target. The discriminator tells all
            of them apart; to treat several sources as one domain, leave 2 and concatenate them.
        align: `"fused"`: what enters the heads is aligned; `"each"`: every modality's features
            are, by a discriminator each. A sample that lacks a modality has no effect on its
            discriminator.
        entropy_conditioning: Whether samples weigh `1 + e^{−H}` with the discriminator, H being the
            entropy of their prediction: sure ones count more.
        adapt_predictions: Whether predictions are also the training outputs `"<head>_domain"`, for
            the loss `mm.losses.InformationMaximization`: sure of each sample of the target, and all
            classes in use.
        reversal: λ, or where `ReversalSchedule` ends. At 0 features are learnt from labels alone.
        domain_hidden: Widths of each discriminator's dense layers with ReLU.
        fusion: As in `mm.build_mcnn`.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector.
        hidden: Widths of dense layers with ReLU between fusion and heads, before the discriminator
            too.
        dropout: Rate of dropout before each dense layer of these and before the heads, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, as
            further outputs in training.
        share_backbone: Groups of modalities that share one backbone; `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout and of random projections.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to `{"label": (B, num_classes)}` and, in training,
        `"domain"`: `(B, domains)`, or, with `align="each"`, `"<modality>_domain"`; with `"mmd"`
        these are features.

    Raises:
        ValueError: For arguments that don't fit, before a graph is built.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_afe({"image": mm.Features(8)}, num_classes=10, method="cdan")
    >>> sorted(model.output), sorted(mm.inference_model(model).output)
    (['domain', 'label'], ['label'])
    >>> loss = mm.losses.classification()
    >>> model.compile("adam", {"label": loss, "domain": loss})

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016; Long et al.,
    Conditional Adversarial Domain Adaptation, 2018; Long et al., Learning Transferable Features
    with Deep Adaptation Networks, 2015.
    """
    modalities = check_modalities(modalities)
    heads = check_heads(num_classes, modalities)
    outputs_of = _check_alignment(modalities, heads, method, align)
    check_bool("entropy_conditioning", entropy_conditioning)
    check_bool("adapt_predictions", adapt_predictions)
    conditional = method == "cdan" or entropy_conditioning
    _check_predictions(heads, conditional, adapt_predictions)
    check_int("domains", domains, minimum=2)
    check_number("reversal", reversal)
    check_sizes("domain_hidden", domain_hidden)
    check_layers(width, hidden, dropout, modality_dropout)
    fuse = get_fusion(fusion, pooling)

    inputs, features, masks = encode(modalities, width, share_backbone, share_encoder)
    kept = drop_modalities(features, masks, modality_dropout, seed)
    fused = fuse(features, mask=kept) if kept else fuse(features)
    if len(fused.shape) == 3:
        fused = SequencePooling("mean", name="pooling")(fused)
    fused = dense_layers(fused, hidden, dropout, seed)
    outputs = add_heads(fused, heads)
    if auxiliary_heads:
        outputs |= add_auxiliary_heads(features, masks, heads)

    predictions = {}
    if conditional or adapt_predictions:
        predictions = {key: _probabilities(outputs[key], head, key) for key, head in heads.items()}
    condition = _side_by_side(predictions) if conditional else None
    for modality, output in outputs_of.items():
        vector, mask = fused, None
        if modality is not None:
            mask = masks.get(modality)
            pool = SequencePooling(pooling, name=f"{output}_pooling")
            vector = pool(features[modality], mask=mask)
        if method == "mmd":
            aligned = named_output(vector, f"{output}_features")
        else:
            vector = GradientReversal(reversal, name=f"{output}_reversal")(vector)
            if method == "cdan":
                join = ConditionalFeatures(seed=seed, name=f"{output}_conditional")
                vector = join(vector, condition)
            vector = dense_layers(vector, domain_hidden, 0.0, None, f"{output}_")
            head = Classification(domains)
            scores = head.score(vector, output)
            if entropy_conditioning or mask is not None:
                weigh = DomainWeighting(name=f"{output}_weighting")
                by_entropy = {"predictions": condition} if entropy_conditioning else {}
                scores = weigh(scores, **by_entropy, mask=mask)
            aligned = head.activate(scores, f"{output}_probability")
        outputs[output] = TrainingOutput(name=output)(aligned)
    if adapt_predictions:
        for key, prediction in predictions.items():
            output = f"{key}_{DOMAIN}"
            outputs[output] = TrainingOutput(name=output)(prediction)
    return keras.Model(inputs, outputs, name=name)


def _check_alignment(modalities, heads, method, align) -> dict[str | None, str]:
    """Returns `{modality, or None for what is fused: domain output}`."""
    check_choice("method", method, METHODS)
    check_choice("align", align, ALIGNMENTS)
    optional = sorted(key for key, spec in modalities.items() if spec.presence_shape)
    if method == "mmd" and align == "each" and optional:
        raise ValueError(
            "`align` must be 'fused' with method='mmd' where a modality may be missing: the zeros "
            f"of absent samples would count as features. Received: align='each', and {optional}."
        )
    outputs = {None: DOMAIN}
    if align == "each":
        outputs = {key: f"{key}_{DOMAIN}" for key in modalities}
    taken = {*outputs.values(), *(f"{key}_{DOMAIN}" for key in heads)}
    taken = sorted(taken & {*modalities, *heads})
    if taken:
        raise ValueError(
            "`modalities` and `num_classes` must not have names of outputs for the domain. "
            f"Received: {taken}."
        )
    return outputs


def _check_predictions(heads, conditional: bool, adapt_predictions: bool) -> None:
    others = sorted(key for key, head in heads.items() if head.activation != "softmax")
    if others and conditional:
        raise ValueError(
            "`num_classes` must have heads for classes only with method='cdan' or "
            "entropy_conditioning=True, which ask for the distribution of a prediction. "
            f"Received others: {others}."
        )
    if others and adapt_predictions:
        raise ValueError(
            "`num_classes` must have heads for classes only with adapt_predictions=True. "
            f"Received others: {others}."
        )


def _probabilities(output, head: Head, name: str):
    if not head.logits:
        return output
    return keras.layers.Activation("softmax", dtype="float32", name=f"{name}_probability")(output)


def _side_by_side(predictions):
    if len(predictions) == 1:
        return next(iter(predictions.values()))
    join = keras.layers.Concatenate(dtype="float32", name="predictions")
    return join([predictions[key] for key in sorted(predictions)])
