"""Any dataset of TFDS, as batches that a model takes."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from mm_keras._checks import PRESENT, nearest
from mm_keras.data.bad_records import BadRecords, check_policy
from mm_keras.data.screen import Screen
from mm_keras.data.split import Strata
from mm_keras.datasets.av_digits.load import av_digits
from mm_keras.modalities import Audio, Modality, Tabular, Text

# Datasets whose loader makes model-ready modalities (with noise, say), by name.
LOADERS: dict[str, Callable[..., tf.data.Dataset]] = {"av_digits": av_digits}


@dataclasses.dataclass(frozen=True)
class Source:
    """A TFDS dataset and how its features map to modalities and labels.

    Args:
        name: In TFDS, with or without `/config:version`; a builder that has been imported, such as
            `av_digits`, counts.
        inputs: `{modality: feature}`, or a list of features for the columns of a table. A modality
            left out is taken from the feature of the same name.
        labels: `{head: feature}`, or one feature for the one head.
        data_dir: Folder of the prepared data; `None`: TFDS's own.
        cache: Whether examples stay in memory after the first epoch, for data that fit in it.
        options: Passed to the dataset's loader, e.g. `{"audio_snr_db": 0}` for `av_digits`.
        on_error: As in `mm.data.from_tfds`.
    """

    name: str
    inputs: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)
    labels: str | Mapping[str, str] = "label"
    data_dir: str | None = None
    cache: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    on_error: Any = "raise"

    @functools.cached_property
    def report(self) -> BadRecords:
        """What was bad in any split."""
        return BadRecords()

    def screen(
        self, split: str, modalities: Mapping[str, Modality], report: BadRecords | None = None
    ) -> Screen:
        """Returns what looks for bad examples, by `on_error`."""
        policies, label_policy = check_policy(self.on_error, modalities)
        features = {name: f"feature {self._features(name)!r}" for name in modalities}
        return Screen(
            modalities,
            policies,
            label_policy,
            self.report if report is None else report,
            f"{self.name}, {split}",
            lambda number, name: features.get(name, f"feature {self.labels!r}"),
        )

    def raw(self, split: str) -> tf.data.Dataset:
        """Returns examples as dicts of features.

        Raises:
            ValueError: If TFDS has no dataset of that name, or `options` are given to a dataset
                that has no loader of its own.
        """
        if self.name in LOADERS:
            loader = LOADERS[self.name]
            dataset = loader(split, data_dir=self.data_dir, **self.options)
            return dataset.map(lambda inputs, label: {**inputs, "label": label})
        if self.options:
            raise ValueError(
                f"`options` must be empty for a dataset other than {sorted(LOADERS)}. "
                f"Received: options={dict(self.options)}."
            )
        builder = self._builder()
        builder.download_and_prepare()
        return builder.as_dataset(split=split, shuffle_files=False)

    def splits(self) -> list[str]:
        """Returns the names of the splits, once the data are there."""
        builder = self._builder()
        builder.download_and_prepare()
        return sorted(builder.info.splits)

    def folder(self) -> str:
        """Returns the folder of the prepared data, once they are there."""
        builder = self._builder()
        builder.download_and_prepare()
        return os.fspath(builder.data_path)

    def classes_of(self, head: str) -> tuple[str, ...]:
        """Returns the names of a head's classes; none where they are not known."""
        label = self.labels.get(head) if isinstance(self.labels, Mapping) else self.labels
        feature = dict(self._builder().info.features.items()).get(label)
        return tuple(feature.names) if isinstance(feature, tfds.features.ClassLabel) else ()

    def _builder(self) -> tfds.core.DatasetBuilder:
        try:
            return tfds.builder(self.name, data_dir=self.data_dir, try_gcs=False)
        except tfds.core.DatasetNotFoundError as error:
            hint = nearest(
                self.name, [*LOADERS, *tfds.list_builders(with_community_datasets=False)]
            )
            raise ValueError(
                f"`name` must be a dataset of TFDS.{hint} Received: name={self.name!r}."
            ) from error

    def strata(self, splits: Sequence[str], head: str | None) -> Strata:
        """Returns labels of all examples of some splits, one split after the other.

        Args:
            splits: Of TFDS.
            head: Whose labels, where labels are a dict; `None`: none.
        """
        feature = self.labels if isinstance(self.labels, str) else self.labels.get(head)
        found: list[Any] = []
        for split in splits:
            labels = self.raw(split).map(lambda example: example.get(feature, 0))
            found.extend(labels.batch(1024).unbatch().as_numpy_iterator())
        scalar = head is not None and all(np.ndim(label) == 0 for label in found)
        return Strata(len(found), np.array(found) if scalar else None)

    def parted(self, parts: Mapping[str, tuple[Sequence[str], np.ndarray]]) -> "Source":
        """Returns a source with other splits.

        Args:
            parts: `{split: (splits, rows)}`: which examples of these splits, one after the other,
                it has, in their order. Splits that are not named stay.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(Source)}
        return PartedSource(**fields, parts=parts)

    def adapt(self, modalities: Mapping[str, Modality], split: str) -> dict[str, Modality]:
        """Returns the specs, those of texts and tables adapted on a split where they need it."""
        adapted = dict(modalities)
        for name, spec in modalities.items():
            features = self._features(name)
            if isinstance(spec, Text) and not spec.vocabulary:
                texts = self.raw(split).map(lambda example, key=features: example[key])
                adapted[name] = spec.adapt(texts.batch(1024))
            elif isinstance(spec, Tabular) and not spec.mean:
                rows = list(self.raw(split).batch(1024).as_numpy_iterator())
                columns = {f: np.concatenate([row[f] for row in rows]) for f in features}
                adapted[name] = spec.adapt(_decoded(columns))
        return adapted

    def batches(
        self,
        split: str,
        modalities: Mapping[str, Modality],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        report: BadRecords | None = None,
    ) -> tf.data.Dataset:
        """Returns batches of `({modality: tensor}, labels)`.

        Args:
            split: Of TFDS, e.g. `"train"` or `"train[:90%]"`.
            modalities: `{name: spec}`; texts and tables are adapted already.
            batch_size: In samples; the last batch may be smaller.
            shuffle: Whether examples come in another order each epoch.
            seed: Of the shuffling.
            report: Receives bad examples that did not raise; `None`: that of the source.
        """
        dataset = self.raw(split)
        screen = self.screen(split, modalities, report)
        self._check_features(dataset.element_spec, modalities)
        if self.cache:
            dataset = dataset.cache()
        dataset = dataset.enumerate()
        if shuffle:
            dataset = dataset.shuffle(10_000, seed=seed)
        dataset = dataset.batch(batch_size)

        def prepare(numbers, example):
            inputs = {
                name: _prepared(spec, name, self._features(name), example)
                for name, spec in modalities.items()
            }
            for name, spec in modalities.items():
                if spec.presence_shape is not None:  # TFDS has no samples that lack something
                    shape = (tf.shape(inputs[name])[0], *spec.presence_shape)
                    inputs[name + PRESENT] = tf.ones(shape, tf.bool)
            if isinstance(self.labels, str):
                return screen(numbers, (inputs, example[self.labels]))
            labels = {head: example[feature] for head, feature in self.labels.items()}
            return screen(numbers, (inputs, labels))

        batches = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        if screen.drops:  # which leaves some batches smaller
            batches = batches.unbatch().batch(batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _features(self, modality: str) -> str | tuple[str, ...]:
        feature = self.inputs.get(modality, modality)
        return feature if isinstance(feature, str) else tuple(feature)

    def _check_features(self, available: Mapping[str, Any], modalities) -> None:
        labels = [self.labels] if isinstance(self.labels, str) else list(self.labels.values())
        for argument, wanted in [
            *((f"inputs[{name!r}]", self._features(name)) for name in modalities),
            *(("labels", feature) for feature in labels),
        ]:
            for feature in (wanted,) if isinstance(wanted, str) else wanted:
                if feature not in available:
                    raise ValueError(
                        f"`{argument}` must be a feature of {self.name!r}, one of "
                        f"{sorted(available)}.{nearest(feature, available)} "
                        f"Received: {feature!r}."
                    )


@dataclasses.dataclass(frozen=True)
class PartedSource(Source):
    """A dataset of TFDS whose examples are in other splits; `Source.parted` makes it.

    Args:
        parts: As there.
    """

    parts: Mapping[str, tuple[Sequence[str], np.ndarray]] = dataclasses.field(default_factory=dict)

    def raw(self, split: str) -> tf.data.Dataset:
        if split not in self.parts:
            return super().raw(split)
        splits, rows = self.parts[split]
        whole, *others = [super(PartedSource, self).raw(one) for one in splits]
        for other in others:
            whole = whole.concatenate(other)
        kept = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(rows, tf.int64), tf.ones(len(rows), tf.int64)
            ),
            default_value=0,
        )
        chosen = whole.enumerate().filter(lambda number, example: kept.lookup(number) > 0)
        chosen = chosen.map(lambda number, example: example)
        return chosen.apply(tf.data.experimental.assert_cardinality(len(rows)))


def _decoded(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bytes, as TFDS gives strings, become text."""
    return {
        name: np.char.decode(column.astype("S"), "utf-8") if column.dtype == object else column
        for name, column in columns.items()
    }


def _prepared(spec: Modality, name: str, feature: str | tuple[str, ...], example):
    if isinstance(spec, Tabular):
        names = (feature,) if isinstance(feature, str) else feature

        def encode(*columns):
            return spec.encode(_decoded(dict(zip(names, columns, strict=True))))

        rows = tf.numpy_function(encode, [example[column] for column in names], tf.float32)
        rows.set_shape((None, *spec.input_shape))
        return rows
    if not isinstance(feature, str):
        raise TypeError(
            f"`inputs[{name!r}]` must be one feature: only a table has several. "
            f"Received: {feature!r}."
        )
    value = example[feature]
    if isinstance(spec, Text) and value.dtype == tf.string:
        return spec.vectorize(value)
    if isinstance(spec, Audio) and value.dtype.is_integer:  # samples of a sound file: to −1…1
        return tf.cast(value, tf.float32) / float(value.dtype.max)
    return value
