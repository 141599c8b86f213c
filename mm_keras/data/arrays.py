"""Samples from arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT, nearest
from mm_keras.data.bad_records import BadRecords, check_policy
from mm_keras.data.columns import set_present, store_array
from mm_keras.data.label_columns import read_labels
from mm_keras.data.records import Records
from mm_keras.data.rows import Place
from mm_keras.data.table import check_modalities


def from_arrays(
    inputs: Mapping[str, Any],
    labels: Any,
    modalities: Mapping[str, Any],
    *,
    sample_weight: Any = None,
    on_error: str | Mapping[str, str] = "raise",
    report: BadRecords | None = None,
    shuffle: bool = False,
    seed: int = 0,
    origin: str = "arrays",
) -> tf.data.Dataset:
    """Returns samples `({name: …}, labels[, weights])` of arrays, not batched.

    Pixels stay uint8; integer sound becomes −1…1; all other numbers become float32.

    Args:
        inputs: `{name: (N, *spec.input_shape)}`. For an optional modality `<name>_present`,
            `(N,)`, `(N, 1)` or, of views, `(N, V)`, says where it is; without it, everywhere.
        labels: `(N, …)`, or `{head: (N, …)}`.
        modalities: `{name: spec}`.
        sample_weight: `(N,)`, `{head: (N,)}`, or `None`.
        on_error: What becomes of a sample with NaN or infinity where it is present; as in
            `from_table`.
        report: Receives every bad record that did not raise.
        shuffle: Whether samples come in another order in each epoch.
        seed: Of the shuffling.
        origin: Names the arrays in messages.

    Raises:
        ValueError: If an array is missing, has another shape, or is bad and `on_error="raise"`.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> data = mm.data.from_arrays({"a": np.eye(3)}, [0, 1, 2], {"a": mm.Features(3)})
    >>> [int(label) for _, label in data]
    [0, 1, 2]
    """
    check_modalities(modalities)
    policies, label_policy = check_policy(on_error, modalities)
    expected = {*modalities, *(n + PRESENT for n, s in modalities.items() if s.presence_shape)}
    for name in inputs:
        if name not in expected:
            raise ValueError(
                f"`inputs` must have names out of {sorted(expected)}.{nearest(name, expected)} "
                f"Received: {name!r}."
            )
    stored = {}
    for name, spec in modalities.items():
        if name not in inputs:
            raise ValueError(
                f"`inputs` must have the arrays {sorted(modalities)}. "
                f"Received: {sorted(inputs)}, without {name!r}."
            )
        stored[name] = store_array(spec, inputs[name], name, f"inputs[{name!r}]")
        if name + PRESENT in inputs:
            set_present(stored[name], inputs[name + PRESENT], f"inputs[{name + PRESENT!r}]")
    labels = _arrays(labels)
    sample_weight = None if sample_weight is None else _arrays(sample_weight)
    lengths = {
        **{name: len(modality.values) for name, modality in stored.items()},
        **_lengths("labels", labels),
        **({} if sample_weight is None else _lengths("sample_weight", sample_weight)),
    }
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        raise ValueError(
            "`inputs`, `labels` and `sample_weight` must have one length, at least 1. "
            f"Received lengths: {lengths}."
        )
    if isinstance(labels, Mapping):
        found, bad = read_labels(labels, {head: head for head in labels}, None)
    else:
        found, bad = read_labels({"labels": labels}, "labels", None)
    records = Records(
        lambda row: Place(origin, row),
        stored,
        found,
        sample_weight,
        policies,
        report or BadRecords(),
        bad_labels=bad,
        label_policy=label_policy,
    )
    return records.dataset(shuffle, seed)


def _arrays(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {head: np.asarray(value) for head, value in values.items()}
    return np.asarray(values)


def _lengths(argument: str, values: Any) -> dict[str, int]:
    if isinstance(values, Mapping):
        return {f"{argument}[{head!r}]": len(value) for head, value in values.items()}
    return {argument: len(values)}
