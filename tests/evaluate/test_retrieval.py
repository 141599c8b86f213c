"""Retrieval metrics against loops, and what they must be in plain cases."""

import numpy as np
import pytest

from mm_keras.evaluate import retrieval_metrics
from tests.conformance.cases import floats

QUERIES, GALLERY = floats(12, 4), floats(30, 4, seed=1)
SOUGHT = np.random.default_rng(2).uniform(size=(12, 30)) < 0.15
SOUGHT[3] = False  # seeks nothing


def oracle(queries, gallery, sought, at=(1, 5, 10)):
    firsts, averages = [], []
    for query, wanted in zip(queries, sought, strict=True):
        if not wanted.any():
            continue
        scores = [float(np.dot(query.astype("float64"), item)) for item in gallery]
        ranks = sorted(
            1
            + sum(s > scores[g] or (s == scores[g] and not wanted[h]) for h, s in enumerate(scores))
            for g in np.flatnonzero(wanted)
        )
        firsts.append(ranks[0])
        averages.append(np.mean([(n + 1) / rank for n, rank in enumerate(ranks)]))
    metrics = {f"R@{k}": np.mean([first <= k for first in firsts]) for k in at}
    return {**metrics, "median rank": np.median(firsts), "mAP": np.mean(averages)}


def test_oracle():
    found = retrieval_metrics(QUERIES, GALLERY, SOUGHT)
    assert found == pytest.approx(oracle(QUERIES, GALLERY, SOUGHT))
    assert 0 < found["R@1"] < found["R@10"] <= 1


def test_own_row_and_ids_are_matrices_too():
    found = retrieval_metrics(QUERIES, GALLERY[:12], at=(3,))
    assert found == pytest.approx(oracle(QUERIES, GALLERY[:12], np.eye(12, dtype="bool"), (3,)))
    ids = np.arange(12) % 3, np.arange(30) % 5
    found = retrieval_metrics(QUERIES, GALLERY, ids)
    assert found == pytest.approx(oracle(QUERIES, GALLERY, ids[0][:, None] == ids[1]))


def test_identical_embeddings_find_themselves():
    perfect = {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "median rank": 1.0, "mAP": 1.0}
    unit = QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)
    assert retrieval_metrics(unit, unit) == perfect


def test_collapsed_embeddings_find_nothing():
    found = retrieval_metrics(np.ones((20, 3)), np.ones((20, 3)))
    assert found["R@10"] == 0
    assert found["median rank"] == 20
    assert found["mAP"] == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((QUERIES, GALLERY), "`relevant` must be given where.*12 queries, 30 items"),
        ((QUERIES, GALLERY[:, :2]), r"`queries` and `gallery` must be \(Q, E\)"),
        ((QUERIES * np.nan, GALLERY, SOUGHT), "must be finite"),
        ((QUERIES, GALLERY, SOUGHT.T), r"`relevant` must be \(12, 30\).*\(30, 12\)"),
        ((QUERIES, GALLERY, (np.arange(12), np.arange(3))), "ids of 12 queries and of 30 items"),
        ((QUERIES, GALLERY, np.zeros((12, 30))), "`relevant` must have an item"),
        ((QUERIES, GALLERY, SOUGHT, (0,)), "`at` must be an integer of at least 1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(*arguments)
