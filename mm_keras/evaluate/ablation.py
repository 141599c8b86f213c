"""What a model is worth without some of its modalities."""

from typing import NamedTuple

import keras
import numpy as np

from mm_keras.evaluate.presence import has_all, keep, modality_names, presence_patterns
from mm_keras.evaluate.samples import (
    Data,
    Metric,
    batches_of,
    check_head,
    labels_of,
    metric_of,
    predict,
)


class AblationRow(NamedTuple):
    """A presence pattern.

    Args:
        present: Names of the modalities that were there.
        value: Of the metric.
        samples: How many it was measured on.
    """

    present: tuple[str, ...]
    value: float
    samples: int


def presence_ablation(
    model: keras.Model,
    data: Data,
    head: str = "label",
    metric: Metric = "accuracy",
    batch_size: int = 32,
) -> list[AblationRow]:
    """Measures a model with every set of its modalities, from all of them down to none.

    One pass over the data, 2^M predictions a batch. A pattern is measured on the samples that have
    all of its modalities; whatever else they have is taken away.

    Args:
        model: Of modalities with `optional=True`.
        data: Batches of `({name: …}, labels)`, or one such tuple of whole arrays.
        head: Name of the output.
        metric: `"accuracy"`, or a function of labels `(n, …)` and outputs `(n, …)`.
        batch_size: Of whole arrays.

    Returns:
        A row for each pattern, NaN for one that no sample has.

    Raises:
        ValueError: If a modality can't be absent, or the data lack an input or the head's labels.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> sound = mm.Features(6, optional=True)
    >>> model = mm.build_mcnn({"a": sound, "b": sound}, 2)
    >>> x = {"a": np.ones((4, 6)), "b": np.ones((4, 6))}
    >>> x |= {"a_present": np.ones((4, 1), bool), "b_present": np.ones((4, 1), bool)}
    >>> rows = mm.evaluate.presence_ablation(model, (x, np.array([0, 1, 0, 1])))
    >>> [(row.present, row.value) for row in rows][::3]
    [(('a', 'b'), 0.5), ((), 0.5)]
    """
    check_head(model, head)
    names = modality_names(model)
    measure = metric_of(metric)
    labels = {pattern: [] for pattern in presence_patterns(names)}
    outputs = {pattern: [] for pattern in labels}
    for batch in batches_of(model, data, batch_size):
        inputs, true = batch.inputs, labels_of(batch, head)
        for pattern in labels:
            measured = has_all(inputs, pattern)
            found = predict(model, keep(inputs, pattern, names))[head]
            labels[pattern].append(true[measured])
            outputs[pattern].append(found[measured])
    rows = []
    for pattern in labels:
        true, found = np.concatenate(labels[pattern]), np.concatenate(outputs[pattern])
        value = float(measure(true, found)) if len(true) else float("nan")
        rows.append(AblationRow(pattern, value, len(true)))
    return rows
