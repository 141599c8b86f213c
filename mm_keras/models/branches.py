"""Several backbones for one modality."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras

from mm_keras._checks import check_names, nearest
from mm_keras.modalities import Modality
from mm_keras.models.inputs import Entered, enter

Backbones = Mapping[str, Sequence[str | keras.Model]] | None
Branches = dict[str, dict[str, Modality]]


def check_branches(modalities: Mapping[str, Modality], backbones: Backbones) -> Branches:
    """Returns `{modality: {branch: spec}}` of the builder argument `backbones`.

    Args:
        modalities: As `check_modalities` returns them.
        backbones: `{modality: [backbone, …]}`, names or models; each becomes a branch named
            `<modality>_<backbone>`. A modality that is left out is one branch of its own name.
    """
    backbones = {} if backbones is None else backbones
    if not isinstance(backbones, Mapping):
        raise TypeError(
            "`backbones` must be {modality: [backbone, …]}, e.g. "
            f"{{'image': ['MobileNetV2', 'ResNet50']}}. Received: backbones={backbones!r}."
        )
    unknown = [name for name in backbones if name not in modalities]
    if unknown:
        raise ValueError(
            f"`backbones` must name modalities out of {list(modalities)}."
            f"{nearest(unknown[0], modalities)} Received: {unknown}."
        )
    branches = {}
    for name, spec in modalities.items():
        if name in backbones:
            branches[name] = _branches_of(name, spec, backbones[name])
        else:
            branches[name] = {name: spec}
    check_names("backbones", [branch for group in branches.values() for branch in group])
    return branches


def enter_branches(
    modalities: dict[str, Modality], branches: Branches
) -> tuple[dict[str, Modality], Entered]:
    """Makes the inputs of every modality; returns `{branch: spec}` and what comes in by branch."""
    entered = enter(modalities)
    home = {branch: name for name, group in branches.items() for branch in group}
    specs = {branch: branches[name][branch] for branch, name in home.items()}
    tensors = {branch: entered.tensors[name] for branch, name in home.items()}
    present = {
        branch: entered.present[name] for branch, name in home.items() if name in entered.present
    }
    return specs, Entered(entered.inputs, tensors, present)


def _branches_of(name, spec, backbones) -> dict[str, Modality]:
    is_list = isinstance(backbones, Sequence) and not isinstance(backbones, str)
    if not is_list or not backbones:
        raise ValueError(
            f"`backbones[{name!r}]` must be a list of one backbone or more. "
            f"Received: {backbones!r}."
        )
    if "backbone" not in {field.name for field in dataclasses.fields(spec)}:
        raise ValueError(
            f"`backbones` must name modalities that have a backbone. Received: {name!r}, which is "
            f"a {type(spec).__name__}."
        )
    weights = getattr(spec, "weights", None)
    if weights not in ("auto", "imagenet", None):
        raise ValueError(
            f"`weights` must be 'auto', 'imagenet' or None for a modality of several backbones, "
            f"since one file fits one of them. Received for {name!r}: weights={weights!r}."
        )
    branches = {}
    for backbone in backbones:
        label = backbone.name if isinstance(backbone, keras.Model) else backbone
        branch = f"{name}_{label}"
        if branch in branches:
            raise ValueError(
                f"`backbones[{name!r}]` must have each backbone once. Received twice: {label!r}."
            )
        branches[branch] = dataclasses.replace(spec, backbone=backbone)
    return branches
