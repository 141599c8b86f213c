"""Samples from TFDS."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mm_keras.data.bad_records import BadRecords
from mm_keras.data.table import check_modalities
from mm_keras.modalities import Modality

PREPARED = 64  # samples that are prepared in one call


def from_tfds(
    name: str,
    split: str,
    modalities: Mapping[str, Modality],
    *,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    labels: str | Mapping[str, str] = "label",
    data_dir: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_error: str | Mapping[str, str] = "raise",
    report: BadRecords | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Returns a split of a TFDS dataset as samples `({name: …}, labels)`, not batched.

    Args:
        name: In TFDS, with or without `/config:version`, or `"av_digits"`.
        split: E.g. `"train"` or `"train[:90%]"`.
        modalities: `{name: spec}`; texts and tables are adapted already, for which
            `mm.datasets.Source(…).adapt` serves.
        inputs: `{name: feature}`; a modality left out is the feature of its own name.
        labels: A feature, or `{head: feature}`.
        data_dir: Folder of the prepared data; `None`: TFDS's own.
        options: Of the dataset's loader, e.g. `{"audio_snr_db": 0}` for `av_digits`.
        on_error: What becomes of an example with NaN or infinity or an empty text, as in
            `from_table`. Pictures and the like are read by TFDS, whose errors stay.
        report: Receives every bad record that did not raise.
        shuffle: Whether examples come in another order in each epoch.
        seed: Of the shuffling.

    Raises:
        ValueError: If TFDS has no such dataset, or the dataset no such feature.
    """
    from mm_keras.datasets import Source

    check_modalities(modalities)
    source = Source(
        name, inputs or {}, labels, data_dir=data_dir, options=options or {}, on_error=on_error
    )
    screen = source.screen(split, modalities, report)
    samples = source.batches(split, modalities, PREPARED, shuffle, seed, report).unbatch()
    count = source.raw(split).cardinality()
    if count < 0 or screen.drops:
        return samples
    return samples.apply(tf.data.experimental.assert_cardinality(count))
