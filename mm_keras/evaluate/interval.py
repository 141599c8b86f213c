"""How sure a mean over seeds or folds is, and a difference of two."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from mm_keras._checks import check_number


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, test_ratio: float = 0.0
) -> float | None:
    """Returns half the width of the interval of a mean, by Student's t; `None` of one value.

    Args:
        values: One for each seed, or fold.
        confidence: Of the interval, below 1.
        test_ratio: As in `paired_test`.

    Example:

    >>> import mm_keras as mm
    >>> round(mm.evaluate.mean_interval([0.8, 0.9, 1.0]), 3)
    0.248
    """
    check_number("confidence", confidence, below=1.0)
    check_number("test_ratio", test_ratio)
    if len(values) < 2:
        return None
    t = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return float(t * _standard_error(values, test_ratio))


def paired_test(a: Sequence[float], b: Sequence[float], test_ratio: float = 0.0) -> float | None:
    """Returns the p of a paired, two-sided t-test; `None` where all differences are the same.

    Over folds the plain test finds differences that aren't there: the trainings share most of
    their samples, so that their figures vary too little. The corrected resampled t-test takes
    `(1/n + n_test/n_train)` for the `1/n` of the variance of the mean.

    Args:
        a: One value for each seed, or fold.
        b: Those to compare with, in the same order.
        test_ratio: Number of test samples over that of training samples, `1 / (k − 1)` of k folds,
            repeated or not. 0: trainings that are independent but for the data: seeds.

    Raises:
        ValueError: If the values differ in number.

    Example:

    >>> import mm_keras as mm
    >>> a, b = [0.8, 0.9, 0.7, 0.9, 0.8], [0.7, 0.7, 0.7, 0.8, 0.6]
    >>> round(mm.evaluate.paired_test(a, b), 3), round(mm.evaluate.paired_test(a, b, 1 / 4), 3)
    (0.033, 0.109)

    Reference: Nadeau and Bengio, Inference for the Generalization Error, 2003; Bouckaert and Frank,
    Evaluating the Replicability of Significance Tests, 2004 (repeated folds).
    """
    check_number("test_ratio", test_ratio)
    if len(a) != len(b):
        raise ValueError(
            f"`a` and `b` must have the same number of values. Received: {len(a)}, {len(b)}."
        )
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(set(differences)) < 2:
        return None
    t = statistics.mean(differences) / _standard_error(differences, test_ratio)
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))


def _standard_error(values: Sequence[float], test_ratio: float) -> float:
    return statistics.stdev(values) * math.sqrt(1 / len(values) + test_ratio)
