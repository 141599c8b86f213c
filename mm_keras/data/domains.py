"""Batches of several domains, of which one has no labels, or few."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from mm_keras._checks import check_bool, check_int

DOMAIN = "domain"


def domain_batches(
    source: tf.data.Dataset | Sequence[tf.data.Dataset],
    target: tf.data.Dataset,
    batch_size: int = 64,
    *,
    mixed: bool = True,
    steps: int | None = None,
) -> tf.data.Dataset:
    """Makes what `fit` needs to train a `build_afe` model: batches, domains as labels, weights.

    Elements are `(inputs, {"label": …, "domain": …}, {"label": …, "domain": …})`. Each domain has
    the same share of a batch, the sources first; sources are numbered 0, 1, …, and the target is
    the last. Labels of sources weigh 1 and those of the target 0: they are zeros in the batch,
    whatever the dataset holds. Where some labels of the target are known, give it as
    `(inputs, labels, weight)` with a weight above 0 for these.

    A smaller domain starts anew as often as needed until the largest has been seen once, so that
    every batch is full, and `fit` needs no `steps_per_epoch`. Shuffle, augment and cache the
    datasets before they come here: what `dataset.shuffle` gives is drawn anew in each pass.

    For outputs of other names, such as `"image_domain"`, go on with
    `mm.data.labels_for_outputs(batches, model)`.

    Args:
        source: Single samples `(inputs, labels)`, or `(inputs, labels, weight)`, labels an array
            or `{head: labels}`; or a list of such datasets, one a domain. To treat several sources
            as one domain, concatenate them.
        target: Single samples: `inputs`, `(inputs, labels)`, whose labels are not used, or
            `(inputs, labels, weight)`.
        batch_size: Samples of all domains together: a multiple of their number.
        mixed: Whether each batch holds all domains. If not, batches hold one domain each, in turn,
            of the same size together: BatchNormalization then normalises each by itself, as in two
            separate passes, rather than with statistics that they share.
        steps: Rounds in an epoch: batches, or, if not mixed, batches of each domain. `None`: until
            the largest domain has been seen; it must then be known how many samples there are.

    Returns:
        A dataset of batches.

    Raises:
        ValueError: If a dataset is empty, or of a size that is not known where `steps` is `None`;
            if elements of the datasets have different structures, shapes or types; if `batch_size`
            is no multiple of the number of domains.
        TypeError: If something is no dataset.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> photos = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((6, 4))}, [0, 1, 2, 0, 1, 2]))
    >>> sketches = tf.data.Dataset.from_tensor_slices({"a": np.ones((4, 4))})
    >>> batches = mm.data.domain_batches(photos, sketches, batch_size=4)
    >>> inputs, labels, weight = next(iter(batches))
    >>> labels["label"].numpy().tolist(), weight["label"].numpy().tolist()
    ([0, 1, 0, 0], [1.0, 1.0, 0.0, 0.0])
    >>> labels["domain"].numpy().tolist(), len(batches)
    ([0, 0, 1, 1], 3)

    Reference: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016.
    """
    sources = list(source) if isinstance(source, Sequence) else [source]
    if not sources:
        raise ValueError("`source` must be at least one dataset. Received: source=[].")
    for argument, dataset in [*[("source", s) for s in sources], ("target", target)]:
        check_is_dataset(argument, dataset)
    check_int("batch_size", batch_size)
    domains = len(sources) + 1
    if batch_size % domains:
        raise ValueError(
            "`batch_size` must be a multiple of the number of domains, which have equal shares of "
            f"it: {domains}. Received: batch_size={batch_size}."
        )
    check_bool("mixed", mixed)

    sources = [_with_weights(s) for s in sources]
    like = sources[0].element_spec
    parts = [*sources, _target(target, like)]
    check_alike([part.element_spec for part in parts])
    share = batch_size // domains
    steps = count_steps(parts, share, steps)
    batches = [
        part.map(_with_domain(number), num_parallel_calls=tf.data.AUTOTUNE)
        .repeat()
        .batch(share if mixed else batch_size, drop_remainder=True)
        for number, part in enumerate(parts)
    ]
    if mixed:
        rounds = tf.data.Dataset.zip(tuple(batches)).take(steps)
        joined = rounds.map(_concatenate, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        turns = tf.data.Dataset.range(domains).repeat()
        joined = tf.data.Dataset.choose_from_datasets(batches, turns).take(steps * domains)
    return joined.prefetch(tf.data.AUTOTUNE)


def _with_weights(dataset):
    """Returns `(inputs, {head: labels}, {head: weight})`."""
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise ValueError(
            "`source` must give (inputs, labels) or (inputs, labels, weight). "
            f"Received elements: {spec}."
        )
    return dataset.map(_name_labels, num_parallel_calls=tf.data.AUTOTUNE)


def _name_labels(inputs, labels, weight=1.0):
    labels = dict(labels) if isinstance(labels, Mapping) else {"label": labels}
    if not isinstance(weight, Mapping):
        weight = dict.fromkeys(labels, weight)
    weight = {head: tf.cast(weight.get(head, 1.0), "float32") for head in labels}
    # What weighs nothing may be anything, -1 or NaN for example: the loss must not see it.
    known = {
        head: tf.where(weight[head] > 0, label, tf.zeros_like(label))
        for head, label in labels.items()
    }
    return inputs, known, weight


def _target(dataset, like):
    """Returns the target as `(inputs, {head: labels}, {head: weight})`, unknown labels zero."""
    spec = dataset.element_spec
    if isinstance(spec, tuple) and len(spec) == 3:
        return dataset.map(_name_labels, num_parallel_calls=tf.data.AUTOTUNE)
    if isinstance(spec, tuple) and len(spec) > 3:
        raise ValueError(
            "`target` must give inputs, (inputs, labels) or (inputs, labels, weight). "
            f"Received elements: {spec}."
        )

    def unlabelled(*element):
        inputs = element[0]
        labels = {head: tf.zeros(part.shape, part.dtype) for head, part in like[1].items()}
        return inputs, labels, dict.fromkeys(labels, tf.constant(0.0))

    return dataset.map(unlabelled, num_parallel_calls=tf.data.AUTOTUNE)


def _with_domain(number: int):
    def add(inputs, labels, weight):
        labels = {**labels, DOMAIN: tf.constant(number, "int32")}
        return inputs, labels, {**weight, DOMAIN: tf.constant(1.0)}

    return add


def _concatenate(*parts):
    return tf.nest.map_structure(lambda *tensors: tf.concat(tensors, axis=0), *parts)


def check_alike(specs) -> None:
    """Raises unless inputs, and labels, of all domains have the same names, shapes and types."""
    first = specs[0]
    for number, other in enumerate(specs[1:], start=1):
        which = "`target`" if number == len(specs) - 1 else f"`source[{number}]`"
        for kind, one, two in zip(("inputs", "labels"), first, other, strict=False):
            one, two = _flat(one), _flat(two)
            if one != two:
                raise ValueError(
                    f"{which} must give {kind} of the same names, shapes and types as "
                    f"the first source: {one}. Received: {two}."
                )


def _flat(spec) -> dict[str, tuple]:
    spec = spec if isinstance(spec, Mapping) else {"": spec}
    return {key: (tuple(part.shape), part.dtype.name) for key, part in sorted(spec.items())}


def count_steps(parts, share: int, steps: int | None) -> int:
    """Returns the batches until the largest domain was seen, or `steps`, if it is given."""
    sizes = {}
    for number, part in enumerate(parts):
        which = "target" if number == len(parts) - 1 else f"source {number}"
        sizes[which] = int(part.cardinality())
        if sizes[which] == 0:
            raise ValueError(f"Every domain must have samples. Received: {which} without any.")
    if steps is not None:
        check_int("steps", steps)
        return steps
    unknown = sorted(which for which, size in sizes.items() if size < 0)
    if unknown:
        raise ValueError(
            "`steps` must be given where a dataset does not say how many samples it has, or "
            f"repeats for ever. Received: steps=None, with {unknown}."
        )
    return -(-max(sizes.values()) // share)


def check_is_dataset(argument: str, dataset) -> None:
    """Raises unless it is a dataset."""
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`{argument}` must be a tf.data.Dataset of single samples. Received: {dataset!r} "
            f"of type {type(dataset).__name__}."
        )
