"""How sure a mean over seeds is."""

from collections.abc import Sequence

from scipy import stats

from mm_keras._checks import check_number


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> float | None:
    """Returns half the width of the interval of a mean, by Student's t; `None` of one value.

    Args:
        values: One for each seed.
        confidence: Of the interval, below 1.

    Example:

    >>> import mm_keras as mm
    >>> round(mm.evaluate.mean_interval([0.8, 0.9, 1.0]), 3)
    0.248
    """
    check_number("confidence", confidence, below=1.0)
    if len(values) < 2:
        return None
    t = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return float(t * stats.sem(values))
