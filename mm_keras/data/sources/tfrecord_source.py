"""Described folders of TFRecords."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

from mm_keras.data.bad_records import BadRecords
from mm_keras.data.schema import Schema, read_schema
from mm_keras.data.sources.described import Described
from mm_keras.data.tfrecords import from_tfrecords
from mm_keras.modalities import Tabular, Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFRecordSource(Described):
    """Folders that `write_tfrecords` wrote.

    Args:
        path: Of a folder that holds one for each split, or `{split: path}`.
        on_error: As in `from_tfrecords`.
    """

    on_error: Any = "raise"

    @functools.cached_property
    def report(self) -> BadRecords:
        """What could not be read in any split."""
        return BadRecords()

    def _folder(self, split: str) -> str:
        if isinstance(self.path, Mapping):
            return self._of(split, self.path)
        return os.path.join(self.path, split)

    def schema(self, split: str) -> Schema:
        """What the folder of a split holds."""
        return read_schema(self._folder(split))

    def samples(self, split, modalities, shuffle=False, seed=0):
        return from_tfrecords(
            self._folder(split),
            modalities,
            on_error=self.on_error,
            report=self.report,
            shuffle=shuffle,
            seed=seed,
        )

    def adapt(self, modalities, split):
        stored = self.schema(split).modalities
        adapted = dict(modalities)
        for name, spec in modalities.items():
            known = stored.get(name)
            if isinstance(spec, Text) and isinstance(known, Text) and not spec.vocabulary:
                adapted[name] = dataclasses.replace(spec, vocabulary=known.vocabulary)
            elif isinstance(spec, Tabular) and isinstance(known, Tabular):
                adapted[name] = dataclasses.replace(
                    spec, mean=known.mean, variance=known.variance, categorical=known.categorical
                )
        return adapted
