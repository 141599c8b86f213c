"""Sets of classes that hold the right one as often as promised."""

import numpy as np

from mm_keras._checks import check_choice, check_number
from mm_keras.evaluate.calibration import check_probabilities

SCORES = ("least_ambiguous", "adaptive")


class ConformalSets:
    """Turns probabilities into sets of classes with a promised coverage.

    Split conformal prediction. `fit` it on samples that the model was not trained on; on others
    like them the set then holds the true class with at least the promised probability, however
    wrong the model is: with n samples of calibration, between `coverage` and `coverage +
    1 / (n + 1)` on average over calibration sets. A model that is unsure gives larger sets.

    Args:
        coverage: Promised share of sets with the true class, between 0 and 1.
        score: `"least_ambiguous"`: all classes above one probability, the smallest sets on average,
            which may be empty; `"adaptive"`: the most probable classes up to a sum, which is fairer
            to hard samples. Sets of the latter have at least one class, and so cover a little more.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], size=500)
    >>> labels = [np.random.default_rng(i).choice(3, p=p) for i, p in enumerate(probabilities)]
    >>> sets = mm.evaluate.ConformalSets(coverage=0.9).fit(labels, probabilities)
    >>> sets.predict([[0.9, 0.06, 0.04]]).tolist()
    [[True, False, False]]

    Reference: Sadinle, Lei & Wasserman, Least Ambiguous Set-Valued Classifiers, 2019; Romano,
    Sesia & Candès, Classification with Valid and Adaptive Coverage, 2020.
    """

    def __init__(self, coverage: float = 0.9, score: str = "least_ambiguous"):
        check_number("coverage", coverage, below=1.0)
        if coverage == 0:
            raise ValueError(f"`coverage` must be above 0. Received: coverage={coverage}.")
        check_choice("score", score, SCORES)
        self.coverage = coverage
        self.score = score
        self.threshold: float | None = None

    def fit(self, labels: np.ndarray, probabilities: np.ndarray) -> "ConformalSets":
        """Finds the threshold.

        Args:
            labels: Class numbers `(n,)`, or distributions `(n, C)`.
            probabilities: `(n, C)`, rows that sum to 1.

        Raises:
            TypeError: If either is a dict, of several heads.
            ValueError: If rows are no probabilities, or there are too few samples to promise the
                coverage: at least `coverage / (1 − coverage)`.
        """
        labels, probabilities = check_probabilities(labels, probabilities)
        count = len(labels)
        rank = int(np.ceil((count + 1) * self.coverage - 1e-9))
        if rank > count:
            needed = int(np.ceil(self.coverage / (1 - self.coverage) - 1e-9))
            raise ValueError(
                f"`labels` must be of at least {needed} samples to promise a coverage of "
                f"{self.coverage}. Received: {count}."
            )
        own = self._scores(probabilities)[np.arange(count), labels]
        self.threshold = float(np.sort(own)[rank - 1])
        return self

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns `(n, C)` bool of `(n, C)` probabilities: whether a class is in a sample's set.

        Raises:
            TypeError: If they are a dict, of several heads.
            ValueError: If rows are no probabilities, or `fit` was not called.
        """
        if self.threshold is None:
            raise ValueError("`fit` must be called before `predict`. Received: no threshold.")
        _, probabilities = check_probabilities(None, probabilities)
        sets = self._scores(probabilities) <= self.threshold + 1e-12
        if self.score == "adaptive":
            sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
        return sets

    def _scores(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns `(n, C)`: how little each class conforms."""
        if self.score == "least_ambiguous":
            return 1 - probabilities
        order = np.argsort(-probabilities, axis=1, kind="stable")
        sums = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
        scores = np.empty_like(sums)
        np.put_along_axis(scores, order, sums, axis=1)
        return scores
