"""Dynamic fusion: each sample's features weighed by attention scores, selected, then fused."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_bool, check_choice, check_number
from mm_keras.layers import (
    MMTM,
    ApplyGates,
    AttentionBottleneck,
    CrossAttention,
    GateCost,
    LoadBalance,
    ModalityGate,
    get_fusion,
)
from mm_keras.layers.modality_gate import check_gate, check_top_k
from mm_keras.modalities import Modality
from mm_keras.models.branches import Backbones, check_branches, enter_branches
from mm_keras.models.cheap import cheap_features
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

GATES = "gates"
EXCHANGES = {"mmtm": MMTM, "attention": CrossAttention, "bottleneck": AttentionBottleneck}
GATE_INPUTS = ("features", "inputs")


def build_dfn(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    backbones: Backbones = None,
    exchange: str | None = None,
    level: str = "modality",
    selection: str = "soft",
    top_k: int = 2,
    temperature: float = 1.0,
    gumbel: bool = False,
    gate_on: str = "features",
    balance: float = 0.0,
    costs: Mapping[str, float] | None = None,
    cost_weight: float = 0.1,
    gates: bool = True,
    fusion: str | keras.layers.Layer = "sum",
    width: int = 128,
    pooling: str = "mean",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    auxiliary_heads: bool = False,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "dfn",
) -> keras.Model:
    """Builds a network that decides, for each sample, how much of which modality it uses.

    `a = softmax_m(wᵀ tanh(W h_m + b) / τ)`, `y = softmax(V fuse(a_1 f_1, …, a_M f_M) + c)`; with
    the default fusion, the sum, the classifier sees `Σ a_m h_m`. The gates `a` are an output: they
    tell how the features were scaled, and are no measure of a modality's importance. Give the
    specs `normalization="layer"` to read them: features of any length can do a gate's work.
    Reach for it where the quality of the modalities varies from sample to sample, or where several
    backbones look at one image.

    One input can feed several backbones. Each is then a branch with a gate of its own; with
    attention between their feature maps, then concatenation, pooling and a dense layer:

        mm.build_dfn({"image": mm.Image((96, 96, 3))}, 10, exchange="attention", fusion="concat",
                     backbones={"image": ["MobileNetV2", "ResNet50"]})

    "Modality" below means such a branch, where there are any.

    Args:
        modalities: `{name: spec}`. Inputs bear these names.
        num_classes: As in `build_mcnn`: a number of classes, a head, or a dict of either.
        backbones: `{modality: [backbone, …]}`, names or models, instead of the spec's `backbone`;
            each becomes a branch named `<modality>_<backbone>`.
        exchange: What modalities tell each other before they are weighed: `None`; `"mmtm"`, which
            recalibrates channels (`mm.layers.MMTM`); `"attention"`, in which each one's positions
            attend to those of the others (`mm.layers.CrossAttention`); `"bottleneck"`, in which
            they attend to a few tokens that all share (`mm.layers.AttentionBottleneck`).
        level: `"modality"`: one gate for each modality; `"position"`: one for each of its
            positions, whose number must be the same in all.
        selection: `"soft"`, `"top_k"` or `"hard"`, as in `mm.layers.ModalityGate`.
        top_k: Number of modalities selected by `"top_k"`.
        temperature: τ, above 0: high for even gates, low for choosy ones.
            `mm.training.TemperatureSchedule` changes it in training.
        gumbel: Whether noise on the scores varies the selection in training.
        gate_on: What the gates are scored on. `"features"`: the features that are fused.
            `"inputs"`: those of a tiny encoder for each modality, so that a modality is chosen
            before its backbone runs, and `mm.RoutedPredictor` runs the chosen ones only.
        balance: Weight of a loss, in training, on gates that neglect a modality
            (`mm.layers.LoadBalance`).
        costs: `{modality: cost}`, of every modality: what its use costs, for a loss
            `cost_weight · Σ cost_m a_m` in training (`mm.layers.GateCost`); `None`: no such loss.
        cost_weight: λ of that loss.
        gates: Whether the gates are an output. Without it the model is compiled and fed as one of
            `build_mcnn` is, and `model.get_layer("gate").output[-2]` still leads to them.
        fusion: What joins the weighed features: as in `build_mcnn`.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, for scores
            and for a fusion given by name.
        hidden: Widths of dense layers with ReLU between fusion and heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: Rate at which a whole modality is dropped in training, in [0, 1).
        auxiliary_heads: Whether each modality gets heads of its own, `"<modality>_<head>"`, as
            further outputs in training: a branch that the gates neglect then still learns.
        share_backbone: Groups of modalities that share one backbone; `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout and noise.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to `{"label": (B, num_classes), "gates": (B, M)}`, the
        gates in the order of the sorted names, each row with sum 1. Compile it with a dict of
        losses, `{"label": mm.losses.classification()}`, and give labels as a dict. Where there
        are metrics too, Keras asks for labels of every output: zeros do for the gates, since no
        loss reads them.

    Raises:
        ValueError: For arguments that don't fit.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_dfn(
    ...     {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "audio": mm.Audio(4000, 8000)},
    ...     num_classes=10,
    ... )
    >>> {name: tuple(output.shape) for name, output in sorted(model.output.items())}
    {'gates': (None, 2), 'label': (None, 10)}

    Reference: Xue & Marculescu, Dynamic Multimodal Fusion, 2023; Joze et al., MMTM, 2020; Bahdanau
    et al., 2015 (the score). A family of systems, not one paper's.
    """
    modalities = check_modalities(modalities)
    branches = check_branches(modalities, backbones)
    names = sorted(branch for group in branches.values() for branch in group)
    heads = check_heads(num_classes, {*modalities, *names})
    _check_free({*modalities, *names, *heads})
    check_choice("exchange", exchange, [None, *EXCHANGES])
    if exchange and len(names) < 2:
        raise ValueError(
            "`exchange` must be None where there is one modality, which has nobody to exchange "
            f"anything with. Received: exchange={exchange!r}, modalities {names}."
        )
    check_gate(selection, top_k, level, temperature, gumbel)
    check_top_k(selection, top_k, names)
    check_choice("gate_on", gate_on, GATE_INPUTS)
    if gate_on == "inputs" and level == "position":
        raise ValueError(
            "`level` must be 'modality' for gates on inputs, whose positions are not those of the "
            "features. Received: level='position', gate_on='inputs'."
        )
    check_number("balance", balance)
    check_number("cost_weight", cost_weight)
    costs = _check_costs(costs, names)
    check_bool("gates", gates)
    check_layers(width, hidden, dropout, modality_dropout)
    fuse = get_fusion(fusion, pooling)

    specs, entered = enter_branches(modalities, branches)
    inputs, features, masks = encode(specs, width, share_backbone, share_encoder, entered=entered)
    outputs = add_auxiliary_heads(features, masks, heads) if auxiliary_heads else {}
    masks = drop_modalities(features, masks, modality_dropout, seed)
    masked = {"mask": masks} if masks else {}
    if exchange:
        features = EXCHANGES[exchange](name="exchange")(features, **masked)
    gate = ModalityGate(
        selection, top_k, level, temperature, gumbel, pooling=pooling, seed=seed, name="gate"
    )
    if gate_on == "features":
        gated = gate(features, **masked)
    else:
        cheap, present = cheap_features(specs, entered, masks)
        gated = gate(cheap, **({"mask": present} if present else {}))
    if balance:
        gated = LoadBalance(balance, name="load_balance")(gated)
    if costs:
        gated = GateCost(costs, cost_weight, name="gate_cost")(gated)
    weighed = gated["features"]
    if gate_on == "inputs":
        weighed = ApplyGates(name="apply_gates")(features, gated["gates"], **masked)
    x = fuse(weighed, **masked)
    outputs |= add_heads(dense_layers(x, hidden, dropout, seed), heads)
    if gates:
        outputs[GATES] = named_output(gated["gates"], GATES)
    return keras.Model(inputs, outputs, name=name)


def _check_costs(costs, names) -> list[float]:
    """Returns the costs in the order of the sorted names; none of `None`."""
    if costs is None:
        return []
    if not isinstance(costs, Mapping) or sorted(costs) != list(names):
        raise ValueError(
            f"`costs` must be {{modality: cost}} with a cost for each of {list(names)}. "
            f"Received: costs={costs!r}."
        )
    for name in names:
        check_number(f"costs[{name!r}]", costs[name])
    return [float(costs[name]) for name in names]


def _check_free(names) -> None:
    taken = [name for name in names if name.lower() == GATES]
    if taken:
        raise ValueError(
            f"`modalities` and `num_classes` must leave the name {GATES!r} to the output of that "
            f"name. Received: {taken[0]!r}."
        )
