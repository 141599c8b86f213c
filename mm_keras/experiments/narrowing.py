"""An experiment on some of its modalities."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mm_keras._checks import nearest
from mm_keras.experiments.config import Experiment
from mm_keras.experiments.preparation import Preparation

# Options by the names of modalities: of sources, of builders, and of callbacks, which take names
# of layers too.
OF_SOURCES = ("inputs", "resize", "length", "resample", "sampling", "exif", "on_error")
OF_BUILDERS = ("backbones", "costs")
GROUPS = ("share_backbone", "share_encoder")
OF_CALLBACKS = ("rates", "until")
LABELS = "labels"  # which `on_error` may name, too


def narrowed(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """Returns the experiment on these of its modalities, with what is said of the others left out.

    The rows of the data stay the same, but for those that `on_error` drops for a modality: without
    it they are not bad.

    Args:
        experiment: On more modalities.
        names: Of those that stay.

    Raises:
        ValueError: If an option of the dataset names what is no modality of the experiment at all.
    """
    others = [name for name in experiment.modalities if name not in names]
    kept = {name: spec for name, spec in experiment.modalities.items() if name in names}
    return dataclasses.replace(
        experiment,
        modalities=kept,
        source=_source(experiment.source, experiment.modalities, others),
        target=experiment.target and _source(experiment.target, experiment.modalities, others),
        preparation=_preparation(experiment.preparation, kept, others),
        options=_options(experiment.options, others),
        callbacks=_callbacks(experiment.callbacks, names, others),
    )


def _without(value: Any, others: Sequence[str]) -> Any:
    """Returns a mapping or list without what is said of some; anything else is for all."""
    if isinstance(value, Mapping):
        return {name: part for name, part in value.items() if name not in others}
    if isinstance(value, list | tuple):
        return [name for name in value if name not in others]
    return value


def _source(source: Any, modalities: Mapping[str, Any], others: Sequence[str]) -> Any:
    changed = {}
    for key in OF_SOURCES:
        value = getattr(source, key, None)
        if not isinstance(value, Mapping):
            continue
        known = [*modalities, *([LABELS] if key == "on_error" else [])]
        for name in value:
            if name not in known:
                raise ValueError(
                    f"`dataset.{key}` must have names of modalities, out of {known}."
                    f"{nearest(name, known)} Received: {name!r}."
                )
        if any(name in value for name in others):
            changed[key] = _without(value, others)
    narrow = copy.copy(source)  # which keeps the rows, where they have been read
    vars(narrow).update(changed)
    return narrow


def _preparation(given: Preparation, kept: Mapping[str, Any], others: Sequence[str]) -> Preparation:
    rate = _without(given.drop_modalities, others)
    if rate == {} or not any(spec.presence_shape is not None for spec in kept.values()):
        rate = None
    mix = given.mix
    if mix and "whole" in mix:
        mix = {**mix, "whole": _without(mix["whole"], others)}
    return dataclasses.replace(
        given, augment=_without(given.augment, others), drop_modalities=rate, mix=mix
    )


def _options(options: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any]:
    found = dict(options)
    for key in OF_BUILDERS:
        if key in found:
            found[key] = _without(found[key], others) or None
    for key in GROUPS:
        if isinstance(found.get(key), list | tuple):
            groups = [_without(group, others) for group in found[key]]
            found[key] = [group for group in groups if len(group) > 1] or False
    return found


def _callbacks(
    callbacks: Mapping[str, Mapping[str, Any]], names: Sequence[str], others: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Returns callbacks without the layers of some modalities; those with nothing left go too."""

    def lost(layer: str) -> bool:
        def of(modality: str) -> bool:
            return layer == modality or layer.startswith(f"{modality}_")

        return any(map(of, others)) and not any(map(of, names))

    found = {}
    for name, arguments in callbacks.items():
        arguments = dict(arguments)
        for key in OF_CALLBACKS:
            if isinstance(arguments.get(key), Mapping):
                given = arguments[key]
                arguments[key] = {layer: part for layer, part in given.items() if not lost(layer)}
        if not any(arguments.get(key) == {} for key in OF_CALLBACKS):
            found[name] = arguments
    return found
