"""Samples to sharded TFRecord files, and back."""

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT, check_choice, check_int
from mm_keras.data.bad_records import BadRecords, check_policy
from mm_keras.data.schema import FILE, Schema, check_element, flatten, read_schema, unflatten
from mm_keras.data.screen import Screen
from mm_keras.data.table import check_modalities
from mm_keras.modalities import Modality

PARSED = 16  # records that are parsed in one call
SHUFFLED = 10_000


def write_tfrecords(
    dataset: tf.data.Dataset,
    folder: str | os.PathLike,
    modalities: Mapping[str, Modality],
    *,
    shards: int = 8,
    compression: str | None = None,
    classes: Any = None,
) -> Schema:
    """Writes samples to a folder of TFRecord files with their schema beside, for `from_tfrecords`.

    Whatever the modality, tensors are stored as they are: what comes back is equal bit for bit and
    needs no decoding. Sample i is in shard i modulo `shards`, so that reading all shards side by
    side gives the order back.

    Args:
        dataset: Single samples `(inputs, labels[, weights])`, as every source gives them.
        folder: Made where it doesn't exist; must hold no schema yet.
        modalities: `{name: spec}`; stored too, vocabularies included.
        shards: Number of files.
        compression: `"GZIP"`, `"ZLIB"` or `None`.
        classes: Names of the classes, kept in the schema.

    Returns:
        The schema.

    Raises:
        FileExistsError: If the folder holds a schema already.
        ValueError: If samples don't fit the specs, are batches, or are none.

    Example:

    >>> import tempfile, numpy as np
    >>> import mm_keras as mm
    >>> modalities = {"a": mm.Features(3)}
    >>> data = mm.data.from_arrays({"a": np.eye(3)}, [0, 1, 2], modalities)
    >>> folder = tempfile.mkdtemp()
    >>> mm.data.write_tfrecords(data, folder, modalities, shards=2).count
    3
    >>> [int(label) for _, label in mm.data.from_tfrecords(folder)]
    [0, 1, 2]
    """
    check_modalities(modalities)
    check_int("shards", shards)
    check_choice("compression", compression, [None, "GZIP", "ZLIB"])
    element = check_element(dataset.element_spec, modalities)
    folder = pathlib.Path(folder)
    if (folder / FILE).exists():
        raise FileExistsError(
            f"`folder` must hold no {FILE} yet: remove what is in it. Received: folder={folder}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
    counts = [0] * shards
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(tf.io.TFRecordWriter(str(folder / name), compression))
            for name in names
        ]
        for index, sample in enumerate(dataset.as_numpy_iterator()):
            writers[index % shards].write(_serialised(flatten(sample)))
            counts[index % shards] += 1
    if not sum(counts):
        raise ValueError("`dataset` must have at least one sample. Received: none.")
    sizes = [(folder / name).stat().st_size for name in names]
    schema = Schema(
        modalities=dict(modalities),
        element={k: (tuple(spec.shape), spec.dtype.name) for k, spec in element.items()},
        shards=dict(zip(names, zip(counts, sizes, strict=True), strict=True)),
        compression=compression,
        classes=classes,
    )
    schema.write(folder)  # last: a folder without it was never finished
    return schema


def _serialised(flat: Mapping[str, Any]) -> bytes:
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[_little(value).tobytes()]))
        for key, value in flat.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _little(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype(value.dtype.newbyteorder("<"))


def from_tfrecords(
    folder: str | os.PathLike,
    modalities: Mapping[str, Modality] | None = None,
    *,
    on_error: str | Mapping[str, str] = "raise",
    report: BadRecords | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Returns the samples that `write_tfrecords` wrote, in their order, not batched.

    Args:
        folder: That was written.
        modalities: Specs that the samples must fit; some of the modalities are enough, and only
            they are read. `None`: all that were written; `mm.data.read_schema(folder).modalities`
            has them.
        on_error: What becomes of a sample with NaN or infinity, an empty text, or bytes of another
            length than the schema says, as in `from_table`.
        report: Receives every bad record that did not raise.
        shuffle: Whether samples come in another order in each epoch: within a window of 10,000.
        seed: Of the shuffling.

    Raises:
        FileNotFoundError: If the schema or a shard is missing.
        ValueError: If a shard has another size than when it was written, or a spec doesn't fit.
            `tf.errors.DataLossError` during iteration if bytes of a shard have changed, whatever
            `on_error` says: where the next record starts is not known then.
    """
    folder = pathlib.Path(folder)
    schema = read_schema(folder)
    element = schema.element
    if modalities is not None:
        check_modalities(modalities)
        element = _chosen(schema, modalities)
    specs = schema.modalities if modalities is None else modalities
    policies, label_policy = check_policy(on_error, specs)
    shards = [name for name, (count, _) in schema.shards.items() if count]
    screen = Screen(
        specs,
        policies,
        label_policy,
        report or BadRecords(),
        os.fspath(folder),
        lambda number, name: shards[number % len(shards)],
    )
    features = {key: tf.io.FixedLenFeature((), tf.string, default_value="") for key in element}

    def parse(numbers, records):
        parsed = tf.io.parse_example(records, features)
        decoded, damaged = {}, {}
        for key, (shape, dtype) in element.items():
            decoded[key], wrong = _decoded(parsed[key], shape, dtype)
            part = key.removeprefix("inputs/").removesuffix(PRESENT)
            part = part if key.startswith("inputs/") else "labels"
            damaged[part] = damaged.get(part, False) | wrong
        return screen(numbers, unflatten(decoded), damaged)

    records = tf.data.Dataset.from_tensor_slices(
        [str(folder / name) for name in shards]
    ).interleave(
        lambda path: tf.data.TFRecordDataset(path, schema.compression or ""),
        cycle_length=len(shards),
        block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    records = records.enumerate()
    if shuffle:  # before parsing: records are bytes still
        records = records.shuffle(min(schema.count, SHUFFLED), seed=seed)
    samples = records.batch(PARSED).map(
        parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    samples = samples.unbatch()
    if screen.drops:
        return samples
    return samples.apply(tf.data.experimental.assert_cardinality(schema.count))


def _decoded(data: tf.Tensor, shape: tuple[int, ...], dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns values `(B, *shape)`, and whose bytes are too many or too few: zeros stand there."""
    kind = tf.uint8 if dtype == "bool" else tf.dtypes.as_dtype(dtype)
    size = int(np.prod(shape, dtype="int64")) * kind.size
    wrong = tf.strings.length(data) != size
    values = tf.io.decode_raw(tf.where(wrong, b"\0" * size, data), kind)
    values = tf.reshape(values, (-1, *shape))
    return (values > 0 if dtype == "bool" else values), wrong


def _chosen(schema: Schema, modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Returns the part of the element that the specs ask for."""
    wanted = {}
    for name, spec in modalities.items():
        for key, shape in ((name, spec.input_shape), (f"{name}_present", spec.presence_shape)):
            if shape is None:
                continue
            stored = schema.element.get(f"inputs/{key}")
            if stored is None or stored[0] != shape:
                raise ValueError(
                    f"`modalities` must fit what was written, {schema.element}. "
                    f"Received: {key!r} of the shape {shape}."
                )
            wanted[f"inputs/{key}"] = stored
    labels = {k: v for k, v in schema.element.items() if not k.startswith("inputs/")}
    return {**wanted, **labels}
