"""The first half of every builder: inputs and encoders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import keras

from mm_keras._checks import PRESENT, check_names
from mm_keras.encoders import ENCODERS, Encoder
from mm_keras.layers import ModalityInput
from mm_keras.modalities import Modality

Groups = bool | Sequence[Sequence[str]]
Encoders = Mapping[type, Callable[..., Encoder]]


class Entered(NamedTuple):
    """What comes in.

    Args:
        inputs: `{name: KerasTensor}`: modalities and presence inputs.
        tensors: `{name: (B, …)}`: modalities, absent samples set to zero.
        present: `{name: (B, …) bool}` of the modalities that may be missing.
    """

    inputs: dict[str, keras.KerasTensor]
    tensors: dict[str, keras.KerasTensor]
    present: dict[str, keras.KerasTensor]


class Encoded(NamedTuple):
    """What a builder fuses.

    Args:
        inputs: `{name: KerasTensor}`: modalities and presence inputs.
        features: `{name: (B, N, D)}`.
        masks: `{name: (B, N) or (B, 1) bool}` of the modalities that have one.
    """

    inputs: dict[str, keras.KerasTensor]
    features: dict[str, keras.KerasTensor]
    masks: dict[str, keras.KerasTensor]


def check_modalities(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
) -> dict[str, Modality]:
    """Returns `{name: spec}`, sorted by name, after a check of names and types."""
    pairs = modalities.items() if isinstance(modalities, Mapping) else modalities
    pairs = list(pairs) if isinstance(pairs, Iterable) else [pairs]
    if not pairs:
        raise ValueError(
            "`modalities` must name at least one modality, e.g. {'image': mm.Image((96, 96, 3))}. "
            f"Received: modalities={modalities!r}."
        )
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError(
            "`modalities` must be {name: spec} or pairs of name and spec. "
            f"Received: modalities={modalities!r}."
        )
    check_names("modalities", [name for name, _ in pairs])
    for name, spec in pairs:
        if type(spec) not in ENCODERS:
            raise TypeError(
                f"`modalities[{name!r}]` must be one of "
                f"{sorted('mm.' + cls.__name__ for cls in ENCODERS)}. "
                f"Received: {spec!r} of type {type(spec).__name__}."
            )
    return dict(sorted(pairs))


def enter(modalities: dict[str, Modality]) -> Entered:
    """Makes the inputs of every modality."""
    inputs, tensors, presence = {}, {}, {}
    for name, spec in modalities.items():
        inputs[name] = keras.Input(spec.input_shape, dtype=spec.dtype, name=name)
        present = None
        if spec.presence_shape:
            present = keras.Input(spec.presence_shape, dtype="bool", name=name + PRESENT)
            inputs[name + PRESENT] = presence[name] = present
        tensors[name] = ModalityInput(spec, name=f"{name}_input")(inputs[name], present=present)
    return Entered(inputs, tensors, presence)


def encode(
    modalities: dict[str, Modality],
    width: int,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    encoders: Encoders = ENCODERS,
    entered: Entered | None = None,
    prefix: str = "",
) -> Encoded:
    """Makes inputs, encoders and masks of every modality.

    Args:
        modalities: As `check_modalities` returns them.
        width: Width D of every feature sequence.
        share_backbone: Groups of modalities that share one backbone; each keeps a projection of
            its own. `True`: all of them.
        share_encoder: Groups that share the projection too. `True`: all of them.
        encoders: `{type of spec: what makes its encoder}`.
        entered: Inputs to encode, for a further set of encoders; `None`: new ones.
        prefix: Stands before the name of every encoder's layers.
    """
    made = make_encoders(modalities, width, share_backbone, share_encoder, encoders, prefix)
    entered = entered or enter(modalities)
    features, masks = {}, {}
    for name, x in entered.tensors.items():
        features[name], mask = made[name](x, entered.present.get(name))
        if mask is not None:
            masks[name] = mask
    return Encoded(entered.inputs, features, masks)


def make_encoders(
    modalities: dict[str, Modality],
    width: int,
    share_backbone: Groups,
    share_encoder: Groups,
    encoders: Encoders = ENCODERS,
    prefix: str = "",
) -> dict[str, Encoder]:
    """Makes `{name: encoder}`; modalities of one group get the same encoder, or backbone."""
    encoder_groups = _check_groups("share_encoder", share_encoder, modalities, _whole_spec)
    backbone_groups = _check_groups("share_backbone", share_backbone, modalities, _backbone_key)
    _check_unambiguous(modalities, encoder_groups, backbone_groups)
    backbone_groups += _groups_by_model(modalities, encoder_groups, backbone_groups)
    made: dict[str, Encoder] = {}
    for group in encoder_groups:
        spec = modalities[group[0]]
        name = prefix + "_".join(group)
        made |= dict.fromkeys(group, encoders[type(spec)](spec, width, name))
    for group in backbone_groups:
        spec = modalities[group[0]]
        backbone = ENCODERS[type(spec)].make_backbone(spec, f"{prefix}{'_'.join(group)}_backbone")
        for name in group:
            spec = modalities[name]
            made[name] = encoders[type(spec)](spec, width, prefix + name, backbone)
    for name, spec in modalities.items():
        if name not in made:
            made[name] = encoders[type(spec)](spec, width, prefix + name)
    return made


def _whole_spec(spec: Modality) -> Modality:
    return spec.required()


def _backbone_key(spec: Modality) -> tuple | None:
    return ENCODERS[type(spec)].sharing_key(spec)


def _check_groups(
    argument: str,
    groups: Groups,
    modalities: dict[str, Modality],
    key: Callable[[Modality], object],
) -> list[tuple[str, ...]]:
    """Returns groups of names whose specs have one `key`."""
    if isinstance(groups, bool):
        groups = [tuple(modalities)] if groups else []
    for group in groups if isinstance(groups, Sequence) else [groups]:
        is_group = isinstance(group, Sequence) and not isinstance(group, str) and len(group) > 1
        if not is_group or any(name not in modalities for name in group):
            raise ValueError(
                f"`{argument}` must be a bool, or groups of two or more names out of "
                f"{list(modalities)}, e.g. [('left', 'right')]. Received: {argument}={groups!r}."
            )
        first = modalities[group[0]]
        if key(first) is None:
            raise ValueError(
                f"`{argument}` must group modalities that have one backbone. "
                f"Received: {group[0]!r}, which is {first!r}."
            )
        for name in group[1:]:
            if key(modalities[name]) != key(first):
                raise ValueError(
                    f"`{argument}` must group modalities with the same options. Received: "
                    f"{group[0]!r}, which is {first!r}, and {name!r}, {modalities[name]!r}."
                )
    names = [name for group in groups for name in group]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"`{argument}` must have each name once. Received more than once: {repeated}."
        )
    return [tuple(group) for group in groups]


def _check_unambiguous(modalities, encoder_groups, backbone_groups) -> None:
    """Raises where a modality would be both shared and unshared."""
    in_encoders = {name for group in encoder_groups for name in group}
    both = sorted(in_encoders & {name for group in backbone_groups for name in group})
    if both:
        raise ValueError(
            "`share_backbone` and `share_encoder` must not name the same modality: one shares "
            "the backbone under a projection of its own, the other the projection too. "
            f"Received in both: {both}."
        )


def _groups_by_model(modalities, encoder_groups, backbone_groups) -> list[tuple[str, ...]]:
    """Returns groups of modalities that were given one and the same keras.Model."""
    group_of = {name: group for group in (*encoder_groups, *backbone_groups) for name in group}
    by_model: dict[int, list[str]] = {}
    for name, spec in modalities.items():
        if isinstance(getattr(spec, "backbone", None), keras.Model):
            by_model.setdefault(id(spec.backbone), []).append(name)
    groups = []
    for names in by_model.values():
        found = {group_of.get(name) for name in names}
        if len(names) == 1 or (len(found) == 1 and None not in found):
            continue
        if found != {None}:
            raise ValueError(
                "`backbone` is one keras.Model for several modalities, which therefore share it: "
                f"group all of them together, or none. Received: {names}, of which some are "
                "grouped otherwise."
            )
        groups += _check_groups("backbone", [tuple(names)], modalities, _backbone_key)
    return groups
