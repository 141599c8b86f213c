"""The k parts of a dataset, each of which tests what the others train."""

import collections
import dataclasses
from typing import Any

import numpy as np

from mm_keras.data.split import Strata
from mm_keras.experiments.config import Experiment
from mm_keras.models import Classification
from mm_keras.models.heads import check_heads


class Folds:
    """Folds of an experiment's training and test splits together; the validation split stays.

    Each fold has its share of every class, of the first head of classes; rows of one group, where
    the dataset has such, stay together. The folds are the same for whatever is trained on them.

    Args:
        experiment: Says the data.
        folds: Their number k.
        repetition: Number of the repetition, which draws folds of its own.

    Raises:
        ValueError: If a class has fewer samples, or there are fewer groups, than folds, or the
            data can't be divided so.
    """

    def __init__(self, experiment: Experiment, folds: int, repetition: int = 0):
        source, splits = experiment.source, experiment.splits
        if experiment.target is not None or not hasattr(source, "parted"):
            what = "a target domain" if experiment.target is not None else type(source).__name__
            raise ValueError(
                "`compare.folds` must be left out but for one dataset of type table, folder, "
                f"arrays or tfds. Received: folds={folds}, {what}."
            )
        self.joined = tuple(dict.fromkeys((splits.train, splits.test)))
        heads = check_heads(experiment.num_classes)
        head = next((n for n, h in heads.items() if isinstance(h, Classification)), None)
        self.places = fold_places(source.strata(self.joined, head), folds, repetition)

    def experiment(self, experiment: Experiment, fold: int) -> Experiment:
        """Returns an experiment on one of the folds, with the test part of that number."""
        splits = experiment.splits
        parts = {
            splits.train: (self.joined, np.flatnonzero(self.places != fold)),
            splits.test: (self.joined, np.flatnonzero(self.places == fold)),
        }
        return dataclasses.replace(experiment, source=experiment.source.parted(parts))


def fold_places(strata: Strata, folds: int, seed: int) -> np.ndarray:
    """Returns the number of the fold of each sample, `(n,)`.

    Args:
        strata: What decides.
        folds: Number k of folds.
        seed: Of the drawing.
    """
    from sklearn import model_selection

    labels, groups = strata.labels, strata.groups
    _check_enough(strata, folds)
    options: dict[str, Any] = {"n_splits": folds, "shuffle": True, "random_state": seed}
    if groups is not None and labels is not None:
        divide = model_selection.StratifiedGroupKFold(**options)
    elif groups is not None:
        divide = model_selection.GroupKFold(**options)
    elif labels is not None:
        divide = model_selection.StratifiedKFold(**options)
    else:
        divide = model_selection.KFold(**options)
    places = np.empty(strata.count, "int64")
    for number, (_, test) in enumerate(divide.split(np.zeros(strata.count), labels, groups)):
        places[test] = number
    return places


def _check_enough(strata: Strata, folds: int) -> None:
    """Raises where some fold would lack a class, or be empty."""
    if strata.count < folds:
        raise ValueError(
            "`compare.folds` must be at most the number of samples. "
            f"Received: folds={folds}, {strata.count} samples."
        )
    if strata.labels is not None:
        counts = collections.Counter(strata.labels.tolist())
        few = {label: count for label, count in sorted(counts.items()) if count < folds}
        if few:
            raise ValueError(
                "`compare.folds` must be at most the number of samples of each class, so that each "
                f"fold tests it. Received: folds={folds}, classes with fewer samples: {few}."
            )
    if strata.groups is not None:
        groups = len(set(strata.groups.tolist()))
        if groups < folds:
            raise ValueError(
                "`compare.folds` must be at most the number of groups, which stay whole. "
                f"Received: folds={folds}, {groups} groups."
            )
