"""The engine behind the sources: rows of a table to samples, whatever breaks on the way."""

import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT
from mm_keras.data.bad_records import BadRecord, BadRecords, error_of, reason_of
from mm_keras.data.decode.pixels import Decoder
from mm_keras.data.rows import Place
from mm_keras.modalities import Modality, Views

CHUNK_BYTES = 2**22
CHUNK_OF_FILES = 32
CHUNK_OF_ARRAYS = 256


@dataclasses.dataclass
class Stored:
    """A modality whose samples are in memory.

    Args:
        spec: Of the modality.
        values: `(N, *spec.input_shape)`, zeros where absent.
        present: `(N, *presence_shape)` bool.
        bad: `{row: (source, reason)}` of what cannot be used.
    """

    spec: Modality
    values: np.ndarray
    present: np.ndarray
    bad: dict[int, tuple[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Files:
    """A modality whose samples are in files: one each, or one for each of P views.

    Args:
        spec: Of the modality.
        paths: N × P.
        present: `(N, P)` bool; where it is false there is no file.
        decode: From path and seed to one part of a sample.
        bad: `{row: (source, reason)}` of what cannot be used.
    """

    spec: Modality
    paths: Sequence[Sequence[str]]
    present: np.ndarray
    decode: Decoder
    bad: dict[int, tuple[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def parts(self) -> int:
        """Number of files P of a sample."""
        return self.present.shape[1]

    @property
    def dtype(self) -> tf.DType:
        """Pixels are uint8, all else is float32."""
        return tf.uint8 if self.spec.units.startswith("pixels") else tf.float32

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self.spec.shape if isinstance(self.spec, Views) else self.spec.input_shape

    @property
    def by_part(self) -> bool:
        """Whether single parts may be absent."""
        return isinstance(self.spec, Views) and self.spec.optional_views

    def presence(self, present: Any) -> Any:
        """Returns what the presence input wants of `(N, P)`: single views, or any."""
        return present if self.by_part else np.any(present, axis=1, keepdims=True)


@dataclasses.dataclass
class Records:
    """N samples, of which some may be bad; `dataset()` makes the pipeline.

    Args:
        place: From the number of a sample to what it comes from, and where there, for messages.
        modalities: `{name: Stored or Files}`.
        labels: `{head: (N, …)}`, one array, or `None`: samples are inputs alone.
        weights: `{head: (N,)}`, one array, or `None`.
        policies: `{name: "raise", "absent" or "drop"}`.
        report: Receives what is bad.
        bad_labels: `{row: (column, reason)}`.
        label_policy: `"raise"` or `"drop"`.
    """

    place: Callable[[int], Place]
    modalities: Mapping[str, Stored | Files]
    labels: Any
    weights: Any
    policies: Mapping[str, str]
    report: BadRecords
    bad_labels: dict[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    label_policy: str = "raise"

    def __post_init__(self) -> None:
        # Rows that have lost a modality, or, under None, their labels.
        self._lost: dict[str | None, dict[int, BadRecord]] = collections.defaultdict(dict)
        self._had = {
            name: int((modality.present.any(axis=1) | _flags(modality.bad, self.count)).sum())
            for name, modality in self.modalities.items()
        }
        self.rows = self._settle()

    def _settle(self) -> np.ndarray:
        """Applies the policies to what is bad in memory; returns the rows that stay."""
        dropped = set()
        for row, (source, reason) in self.bad_labels.items():
            self._judge(row, "labels", source, reason, self.label_policy, is_label=True)
            dropped.add(row)
        self._tell_loss(None)
        for name, modality in self.modalities.items():
            for row, (source, reason) in modality.bad.items():
                self._judge(row, name, source, reason, self.policies[name])
                modality.present[row] = False
                if isinstance(modality, Stored):
                    modality.values[row] = 0
                if self.policies[name] == "drop":
                    dropped.add(row)
            self._tell_loss(name)
        return np.array([row for row in range(self.count) if row not in dropped], "int64")

    @property
    def count(self) -> int:
        """Number N of samples, bad ones included."""
        return len(next(iter(self.modalities.values())).present)

    def _judge(
        self, row: int, name: str, source: str, reason: str, policy: str, is_label: bool = False
    ) -> None:
        origin, number, line = self.place(int(row))
        record = BadRecord(origin, number, line, name, source, reason, policy)
        if policy == "raise":
            spec = None if is_label else self.modalities[name].spec
            policies = {"labels": self.label_policy, **self.policies}
            raise error_of(record, policies, spec, numbered=line is None)
        self.report.add(record)
        self._lost[None if is_label else name][int(row)] = record

    def _tell_loss(self, name: str | None) -> None:
        """Says so if more than half of the samples that had a modality (or labels) have lost it."""
        lost = list(self._lost[name].values())
        had = self.count if name is None else self._had[name]
        if len(lost) > had / 2:
            self.report.add_loss(lost[0], len(lost), had)

    def dataset(self, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
        """Returns samples `(inputs, labels)`, `(inputs, labels, weights)` or `inputs`.

        Args:
            shuffle: Whether the rows come in another order in each epoch. Rows are shuffled before
                any file is read, all of them, which costs eight bytes a row.
            seed: Of the shuffling, and of random frames.
        """
        files = {n: m for n, m in self.modalities.items() if isinstance(m, Files)}
        rows = tf.data.Dataset.from_tensor_slices(self.rows)
        if shuffle and len(self.rows):
            rows = rows.shuffle(len(self.rows), seed=seed, reshuffle_each_iteration=True)
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
        chunks = tf.data.Dataset.zip(rows, seeds).batch(_chunk(self.modalities.values(), files))
        samples = chunks.map(
            self._load(files), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        ).unbatch()
        if files:
            samples = samples.with_options(_own_threads())
        if any(self.policies[name] == "drop" for name in files):
            return samples
        return samples.apply(tf.data.experimental.assert_cardinality(len(self.rows)))

    def _load(self, files: Mapping[str, Files]) -> Callable:
        """Returns the function from a chunk of rows to a chunk of samples."""
        # Made here, outside of the graph, or they would be copied into it as constants.
        held = tf.nest.map_structure(
            tf.constant,
            {
                "values": {n: m.values for n, m in self.modalities.items() if n not in files},
                "present": {
                    name + PRESENT: m.presence(m.present) if name in files else m.present
                    for name, m in self.modalities.items()
                    if m.spec.presence_shape is not None
                },
                "labels": () if self.labels is None else self.labels,
                "weights": () if self.weights is None else self.weights,
            },
        )
        read = self._read(files) if files else None

        @tf.autograph.experimental.do_not_convert
        def load(rows, seeds):
            contents, absent = {}, {}
            if read:
                rows, contents, absent = read(rows, seeds)
            taken = tf.nest.map_structure(lambda values: tf.gather(values, rows), held)
            present = {
                name: value & ~absent[name] if name in absent else value
                for name, value in taken["present"].items()
            }
            inputs = {**taken["values"], **contents, **present}
            if self.labels is None:
                return inputs
            weights = () if self.weights is None else (taken["weights"],)
            return inputs, taken["labels"], *weights

        return load

    def _read(self, files: Mapping[str, Files]) -> Callable:
        """Returns the function from rows to `(rows kept, contents, what turned out absent)`."""
        paths = {
            n: tf.constant([[str(p) for p in row] for row in m.paths]) for n, m in files.items()
        }
        present = {name: tf.constant(m.present) for name, m in files.items()}
        absences = {
            name: m.spec.presence_shape
            for name, m in files.items()
            if m.spec.presence_shape is not None
        }

        def read_row(where, here, seed):
            return {
                name: _read_parts(m, where[name], here[name], seed) for name, m in files.items()
            }

        rows_spec = tf.TensorSpec((None,), tf.int64)

        def attempt(rows, seeds):
            # TensorFlow has no try in graphs, but datasets can skip what fails: the first element
            # is all samples, or says that something failed. One small dataset serves a chunk.
            where, here = tf.nest.map_structure(lambda all: tf.gather(all, rows), (paths, present))
            whole = (
                tf.data.Dataset.from_tensor_slices((where, here, seeds))
                .map(read_row)
                .batch(tf.size(rows, out_type=tf.int64), drop_remainder=True)
                .map(lambda contents: (contents, True))
                .ignore_errors(log_warning=False)
            )
            blank = {name: tf.zeros((1, *m.spec.input_shape), m.dtype) for name, m in files.items()}
            failed = tf.data.Dataset.from_tensors((blank, False))
            first = whole.concatenate(failed).take(1).with_options(_plain())
            return first.get_single_element()

        # Made once, and not called in the graph, where each pass would prepare it anew.
        alone = tf.function(attempt, input_signature=(rows_spec, rows_spec), autograph=False)

        def slowly(rows, seeds):
            return self._slowly(files, absences, alone, rows, seeds)

        def read(rows, seeds):
            count = tf.size(rows, out_type=tf.int64)
            contents, is_whole = attempt(rows, seeds)
            flat = [contents[name] for name in files]
            nothing = [tf.zeros((count, *shape), tf.bool) for shape in absences.values()]
            result = tf.cond(
                is_whole,
                lambda: [rows, *flat, *nothing],
                lambda: tf.numpy_function(
                    slowly,
                    [rows, seeds],
                    [tf.int64, *(m.dtype for m in files.values()), *[tf.bool] * len(absences)],
                ),
            )
            rows = tf.ensure_shape(result[0], (None,))
            contents = {
                name: tf.ensure_shape(value, (None, *m.spec.input_shape))
                for (name, m), value in zip(files.items(), result[1:], strict=False)
            }
            absent = {
                name + PRESENT: tf.ensure_shape(value, (None, *shape))
                for (name, shape), value in zip(
                    absences.items(), result[1 + len(files) :], strict=True
                )
            }
            return rows, contents, absent

        return read

    def _slowly(self, files, absences, attempt, rows, seeds) -> list[np.ndarray]:
        """Reads a chunk in which something fails, and applies the policies to what does."""
        contents = {
            n: np.zeros((len(rows), *m.spec.input_shape), m.dtype.as_numpy_dtype)
            for n, m in files.items()
        }
        absent = {name: np.zeros((len(rows), *shape), bool) for name, shape in absences.items()}
        keep = np.ones(len(rows), bool)
        for index, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
            values, is_whole = attempt(*(tf.constant([number], tf.int64) for number in (row, seed)))
            for name, modality in files.items():
                if is_whole:
                    contents[name][index] = values[name][0]
                    continue
                sample = contents[name][index]
                lost = self._read_alone(name, modality, row, seed, sample)
                if lost.any() and self.policies[name] == "drop":
                    keep[index] = False
                elif lost.any() and modality.by_part:
                    absent[name][index] = lost
                elif lost.any():
                    absent[name][index] = True
                    sample[:] = 0
        return [rows[keep], *(value[keep] for value in [*contents.values(), *absent.values()])]

    def _read_alone(self, name: str, modality: Files, row, seed, sample: np.ndarray) -> np.ndarray:
        """Reads the files of one sample one by one; returns which are lost, `(P,)`."""
        lost = np.zeros(modality.parts, bool)
        parts = sample.reshape((modality.parts, *modality.part_shape))
        for part in np.flatnonzero(modality.present[row]):
            path = str(modality.paths[row][part])
            try:
                parts[part] = modality.decode(
                    tf.constant(path), tf.constant(seed, tf.int64)
                ).numpy()
                continue
            except (ImportError, MemoryError, tf.errors.ResourceExhaustedError):
                raise  # no fault of the file
            except Exception as error:  # whatever it is, it is the reason
                exists = tf.io.gfile.exists(path)
                reason = reason_of(error) if exists else "there is no such file"
            lost[part] = True
            self._judge(row, name, path, reason, self.policies[name])
            self._tell_loss(name)
        return lost


def _flags(rows: Iterable[int], count: int) -> np.ndarray:
    """Returns `(count,)` bool, true at the rows."""
    flags = np.zeros(count, bool)
    flags[list(rows)] = True
    return flags


def _read_parts(modality: Files, paths: tf.Tensor, present: tf.Tensor, seed: tf.Tensor):
    """Reads the files of one sample in a graph."""

    def read(path, here):
        if modality.present.all():
            return modality.decode(path, seed)
        return tf.cond(
            here,
            lambda: modality.decode(path, seed),
            lambda: tf.zeros(modality.part_shape, modality.dtype),
        )

    if not isinstance(modality.spec, Views):
        return read(paths[0], present[0])
    return tf.stack([read(paths[part], present[part]) for part in range(modality.parts)])


def _plain() -> tf.data.Options:
    """Options of a dataset that is made for each chunk: what is looked for pays for long ones."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _own_threads() -> tf.data.Options:
    """Options that keep reading off the threads that train; samples are read side by side already.

    Two threads a core: one that waits for the small dataset of its chunk holds its thread.
    They hold for the whole pipeline that this is the source of.
    """
    options = tf.data.Options()
    known = hasattr(os, "sched_getaffinity")  # not on every system
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count()
    options.threading.private_threadpool_size = 2 * cores
    options.threading.max_intra_op_parallelism = 1
    return options


def _chunk(modalities, files: Mapping[str, Files]) -> int:
    """Returns how many samples are read in one call."""
    size = sum(int(np.prod(m.spec.input_shape)) * 4 for m in modalities)
    most = CHUNK_OF_FILES if files else CHUNK_OF_ARRAYS
    return int(np.clip(CHUNK_BYTES // size, 1, most))
