"""What all sources share that a few lines of YAML describe."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mm_keras._checks import nearest
from mm_keras.modalities import Modality


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """What all described sources share.

    Args:
        path: Of the data, or `{split: path}`.
        cache: Whether samples stay in memory after the first epoch, for data that fit in it.
    """

    path: str | Mapping[str, str]
    cache: bool = False

    def samples(
        self,
        split: str,
        modalities: Mapping[str, Modality],
        shuffle: bool = False,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Returns single samples of a split."""
        raise NotImplementedError

    def adapt(self, modalities: Mapping[str, Modality], split: str) -> dict[str, Modality]:
        """Returns the specs, those of texts and tables adapted on a split where they need it."""
        raise NotImplementedError

    def classes_of(self, head: str) -> tuple[str, ...]:
        """Returns the names of a head's classes; none where they are not known."""
        return ()

    @property
    def name(self) -> str:
        """For titles."""
        path = self.path if isinstance(self.path, str) else next(iter(self.path.values()))
        return pathlib.Path(path).name

    def batches(
        self,
        split: str,
        modalities: Mapping[str, Modality],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Returns batches of `(inputs, labels)`, as `mm.datasets.Source` does.

        Args:
            split: Name of a split.
            modalities: `{name: spec}`; texts and tables are adapted already.
            batch_size: In samples; the last batch may be smaller.
            shuffle: Whether samples come in another order each epoch.
            seed: Of the shuffling.
        """
        if self.cache:
            samples = self.samples(split, modalities).cache()
            samples = samples.shuffle(10_000, seed=seed) if shuffle else samples
        else:
            samples = self.samples(split, modalities, shuffle, seed)
        return samples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def _of(self, split: str, known: Any) -> Any:
        if split not in known:
            raise ValueError(
                f"`split` must be one of {sorted(known)} of {self.name}.{nearest(split, known)} "
                f"Received: split={split!r}."
            )
        return known[split]
