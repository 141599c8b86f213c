"""Magnitude pruning."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice, check_int, check_number
from mm_keras.compress.branches import branch_layers
from mm_keras.compress.carried import CarriedCall, carried_layer
from mm_keras.compress.fine_tuning import check_training, compile_arguments
from mm_keras.compress.graph import check_functional, copy_model
from mm_keras.compress.legacy import tfmot
from mm_keras.compress.weights import Layers, compressible, select_layers, weight_path

SCHEDULES = ("polynomial", "constant")
TOLERANCE = 0.01


def prune(
    model: keras.Model,
    train: tf.data.Dataset,
    sparsity: float | Mapping[str, float] | None = None,
    *,
    epochs: int = 2,
    schedule: str = "polynomial",
    initial_sparsity: float = 0.0,
    pattern: str | tuple[int, int] | None = None,
    layers: Layers = None,
    compile: Mapping[str, Any] | None = None,
    validation_data: tf.data.Dataset | None = None,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> keras.Model:
    """Sets the weights of least magnitude to zero, while the model is trained further.

    TFMOT chooses the weights, by its schedule, and keeps them zero after each step; the training is
    Keras' own `fit`, so that every optimizer, loss, metric and callback serves, this package's
    included. A model with many zeros is as large as before until it is compressed: zipped, or in a
    format that leaves zeros out. `model` stays as it is.

    Pruned are kernels and embedding tables, also within layers such as attention and fusion;
    biases, scales, positions and depthwise kernels are not. `sparsity(model)` counts the same.

    Args:
        model: A functional `keras.Model`, trained.
        train: Batches of `({name: array}, labels)`, or with sample weights.
        sparsity: Share of zeros to reach, in [0, 1), 0.5 by default. Or `{modality: share}`: each
            modality's branch, from its input to the first layer that sees another modality, gets a
            share of its own, and what comes after keeps its weights.
        epochs: Number of passes.
        schedule: `"polynomial"`: from `initial_sparsity`, fast at first (cubic), reaching the aim
            after three quarters of the steps; `"constant"`: all of it from the first step on.
        initial_sparsity: Where the polynomial schedule starts.
        pattern: Which zeros may stand together. `None`: any. `"2:4"`: of four consecutive input
            channels, the two smallest, in kernels of two or four axes whose input channels are a
            multiple of four (other numbers likewise: `"m:n"`); `sparsity` is then m / n. `(h, w)`:
            blocks of h inputs × w outputs, in kernels of two axes that are multiples of these.
            Kernels that the pattern does not fit are left as they are.
        layers: Which layers, by names or paths (`"image_backbone/stage1_in_conv"`), or a function
            `f(layer) -> bool`. `None`: all. Named ones must fit the pattern.
        compile: Arguments of `compile` for this training, such as a smaller learning rate. Those
            left out are as the model is compiled.
        validation_data: As `train`.
        steps_per_epoch: Of `train`, where its length is unknown.
        callbacks: Keras callbacks. They see the model with its zeros.
        verbose: As for `fit`.

    Returns:
        A Keras 3 model, compiled. Training it further brings zeros back to life.

    Raises:
        TypeError, ValueError: If an argument does not fit, before any training.
        RuntimeError: If the zeros are not as many as asked within 1 % (or one weight of a small
            kernel), which a callback that restores weights of an earlier epoch can cause.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(10), "b": mm.Features(10)}, 2, width=20)
    >>> model.compile("adam", mm.losses.classification(), jit_compile=False)
    >>> inputs = {"a": np.ones((8, 10), "float32"), "b": np.ones((8, 10), "float32")}
    >>> train = tf.data.Dataset.from_tensor_slices((inputs, [0, 1] * 4)).batch(4)
    >>> pruned = mm.compress.prune(model, train, {"a": 0.8, "b": 0.5}, verbose=0)
    >>> mm.compress.sparsity(pruned).layers
    {'a_projection': 0.8, 'b_projection': 0.5, 'label_logits': 0.0}

    Reference: Zhu and Gupta, To prune, or not to prune, 2017; Mishra et al., Accelerating Sparse
    Deep Neural Networks, 2021 (2:4).
    """
    check_functional(model)
    check_choice("schedule", schedule, SCHEDULES)
    check_number("initial_sparsity", initial_sparsity, below=1.0)
    pattern = _Pattern.parse(pattern)
    sparsity = _check_sparsity(sparsity, pattern)
    copied = copy_model(model)
    copied.compile(**{**compile_arguments(model, compile), "steps_per_execution": 1})
    steps = check_training(copied, train, validation_data, epochs, steps_per_epoch)
    aims = _aims(copied, sparsity, layers, pattern)
    start = initial_sparsity if schedule == "polynomial" else None
    if start is not None and start > min(aim.sparsity for aim in aims):
        raise ValueError(
            "`initial_sparsity` must be at most `sparsity`. "
            f"Received: initial_sparsity={initial_sparsity}, sparsity={sparsity}."
        )
    pruning = _pruning_callback([aim.wrapper(start, pattern, steps) for aim in aims])
    copied.fit(
        train,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        callbacks=[pruning, *callbacks],
        verbose=verbose,
        shuffle=False,  # that is up to the dataset
    )
    _verify(aims, pattern)
    return copied


@dataclasses.dataclass(frozen=True)
class _Pattern:
    """Which zeros stand together: m of n, blocks, or any."""

    m_by_n: tuple[int, int] | None = None
    block: tuple[int, int] = (1, 1)

    @classmethod
    def parse(cls, pattern):
        if pattern is None:
            return cls()
        match = re.fullmatch(r"(\d+):(\d+)", pattern) if isinstance(pattern, str) else None
        if match and 0 < int(match[1]) < int(match[2]):
            return cls(m_by_n=(int(match[1]), int(match[2])))
        is_block = isinstance(pattern, tuple | list) and len(pattern) == 2
        if not is_block:
            raise ValueError(
                "`pattern` must be None, 'm:n' with m zeros of n weights, m < n, such as '2:4', or "
                f"a block (inputs, outputs), such as (4, 1). Received: pattern={pattern!r}."
            )
        for size in pattern:
            check_int("pattern", size)
        return cls(block=tuple(pattern))

    def fits(self, shape):
        """Returns whether a weight of that shape can have the pattern."""
        if self.m_by_n:
            return len(shape) in (2, 4) and shape[-2] % self.m_by_n[1] == 0
        height, width = self.block
        if self.block == (1, 1):
            return True
        return len(shape) == 2 and shape[0] % height == 0 and shape[1] % width == 0

    def zeros(self, shape, share):
        """Returns how many zeros a share is, and by how many they may be off."""
        size = int(np.prod(shape))
        if self.m_by_n:
            return size * self.m_by_n[0] / self.m_by_n[1], 0.5
        return size * share, max(TOLERANCE * size, np.prod(self.block)) + 0.5


@dataclasses.dataclass(frozen=True)
class _Aim:
    """A layer, which of its weights to prune, and how much."""

    path: str
    layer: keras.layers.Layer
    weights: tuple[keras.Variable, ...]
    sparsity: float

    def wrapper(self, initial_sparsity, pattern, steps):
        """Returns TFMOT's pruning wrapper of the weights, built."""
        toolkit = tfmot().sparsity.keras
        last = max(1, int(0.75 * steps))
        every = max(1, last // 100)
        last = last // every * every  # an update falls on the last step of the schedule
        if initial_sparsity is None:
            schedule = toolkit.ConstantSparsity(self.sparsity, 1, last, frequency=every)
        else:
            schedule = toolkit.PolynomialDecay(
                initial_sparsity, self.sparsity, 0, last, frequency=every
            )
        call = CarriedCall(self.layer, (), {}, {}, self.layer, weights=self.weights)
        thin = carried_layer()(call.handle, name=self.path.replace("/", "_"))
        wrapper = toolkit.prune_low_magnitude(
            thin,
            pruning_schedule=schedule,
            block_size=pattern.block,
            sparsity_m_by_n=pattern.m_by_n,
        )
        wrapper.build(None)
        return wrapper


def _check_sparsity(sparsity, pattern):
    """Returns the share of zeros, or `{modality: share}`."""
    if pattern.m_by_n:
        given = pattern.m_by_n[0] / pattern.m_by_n[1]
        shares = sparsity.values() if isinstance(sparsity, Mapping) else [sparsity]
        if any(share is not None and share != given for share in shares):
            raise ValueError(
                f"`sparsity` must be left out, or {given}, with the pattern "
                f"{pattern.m_by_n[0]}:{pattern.m_by_n[1]}. Received: sparsity={sparsity}."
            )
        return given if sparsity is None else sparsity
    if sparsity is None:
        return 0.5
    if isinstance(sparsity, Mapping):
        if not sparsity:
            raise ValueError("`sparsity` must name at least one modality. Received: {}.")
        for name, share in sparsity.items():
            check_number(f"sparsity[{name!r}]", share, below=1.0)
    else:
        check_number("sparsity", sparsity, below=1.0)
    return sparsity


def _aims(model, sparsity, layers, pattern):
    """Returns what to prune, and how much."""
    chosen = select_layers(model, layers)
    named = layers is not None and not callable(layers)
    shares = _shares(model, sparsity, chosen)
    aims = []
    for path, layer in chosen.items():
        if path not in shares:
            continue
        weights = tuple(v for v in compressible(layer) if pattern.fits(v.shape))
        if named and not weights:
            raise ValueError(
                f"`layers` must name layers whose kernels fit the pattern. Received: {path!r}, "
                f"with kernels {[tuple(v.shape) for v in compressible(layer)]}."
            )
        if weights:
            aims.append(_Aim(path, layer, weights, shares[path]))
            _check_zeros(aims[-1], pattern)
    if not aims:
        raise ValueError(
            "`layers`, `sparsity` and `pattern` must leave some kernel to prune. "
            f"Received: layers={layers!r}, sparsity={sparsity}, pattern={pattern}."
        )
    return aims


def _shares(model, sparsity, chosen):
    """Returns `{path: share of zeros}`."""
    if not isinstance(sparsity, Mapping):
        return dict.fromkeys(chosen, sparsity)
    branches = branch_layers(model)
    for name in sparsity:
        check_choice("sparsity", name, sorted(branches))
    shares = {}
    for path, layer in chosen.items():
        asked = {n: sparsity[n] for n in branches if id(layer) in branches[n] and n in sparsity}
        if len(set(asked.values())) > 1:
            raise ValueError(
                "`sparsity` must be the same for modalities that share a layer. "
                f"Received: {asked} for {path!r}."
            )
        if asked:
            shares[path] = next(iter(asked.values()))
    for name in sparsity:
        if not any(id(chosen[path]) in branches[name] for path in shares):
            raise ValueError(
                f"`sparsity` must name modalities with layers to prune before they meet others. "
                f"Received: {name!r}, which has none."
            )
    return shares


def _pruning_callback(wrappers):
    """Returns the callback that lets TFMOT's wrappers act around each step."""

    @tf.function
    def advance():
        for wrapper in wrappers:
            wrapper.pruning_step.assign_add(1)
            wrapper.pruning_obj.conditional_mask_update()
            wrapper.pruning_obj.weight_mask_op()

    @tf.function
    def mask():
        for wrapper in wrappers:
            wrapper.pruning_obj.weight_mask_op()

    class Pruning(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            for wrapper in wrappers:
                wrapper.pruning_step.assign(0)

        def on_train_batch_begin(self, batch, logs=None):
            advance()

        def on_train_batch_end(self, batch, logs=None):
            mask()

    return Pruning()


def _check_zeros(aim, pattern):
    """Raises where a kernel has more zeros than asked for: TFMOT would let them all go."""
    for weight in aim.weights:
        expected, slack = pattern.zeros(weight.shape, aim.sparsity)
        zeros, size = _zeros(weight)
        if zeros > expected + slack:
            raise ValueError(
                "`sparsity` must be at least what each kernel has already; leave others out by "
                f"`layers`. Received: {aim.sparsity} for {aim.path!r}, which has "
                f"{100 * zeros / size:.1f} % zeros."
            )


def _verify(aims, pattern):
    """Raises where the zeros are not as many as asked."""
    for aim in aims:
        for weight in aim.weights:
            expected, slack = pattern.zeros(weight.shape, aim.sparsity)
            zeros, size = _zeros(weight)
            if abs(zeros - expected) > slack:
                raise RuntimeError(
                    f"The weight {weight_path(aim.path, aim.layer, weight)!r} has "
                    f"{100 * zeros / size:.1f} % zeros, not {100 * expected / size:.1f} %. A "
                    "callback that restores weights of an earlier epoch, or ends the training "
                    "before three quarters of its steps, can cause that."
                )


def _zeros(weight):
    values = weight.numpy()
    return int((values == 0).sum()), values.size
