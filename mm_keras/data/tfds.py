"""Samples from TFDS."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

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
        shuffle: Whether examples come in another order in each epoch.
        seed: Of the shuffling.

    Raises:
        ValueError: If TFDS has no such dataset, or the dataset no such feature.
    """
    from mm_keras.datasets import Source

    check_modalities(modalities)
    source = Source(name, inputs or {}, labels, data_dir=data_dir, options=options or {})
    samples = source.batches(split, modalities, PREPARED, shuffle, seed).unbatch()
    count = source.raw(split).cardinality()
    return samples.apply(tf.data.experimental.assert_cardinality(count)) if count >= 0 else samples
