"""The check that every builder passes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mm_keras._checks import PRESENT
from mm_keras._graphs import dtype_policy
from mm_keras.layers import TrainingOnly
from mm_keras.losses import classification
from mm_keras.models import inference_model
from mm_keras.testing.compare import (
    name_of,
    require,
    require_close,
    require_finite,
    require_same_weights,
    require_specs,
    saved_and_loaded,
    to_numpy,
)
from mm_keras.testing.gradients import Recorder, by_path, require_gradients


def check_builder(
    build: Callable[[], keras.Model],
    batch: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    *,
    loss: Any = None,
    jit_compile: bool = True,
    may_lack_gradient: Sequence[str] = (),
    further: Sequence[Callable[[keras.Model, Mapping[str, np.ndarray]], None]] = (),
    rtol: float = 1e-5,
) -> None:
    """Checks whatever must hold for a functional model with dicts for inputs and outputs.

    Predictions stay the same after saving, cloning, `mm.inference_model`, in batches of any size,
    with inputs in another order, with garbage in absent modalities; steps of `fit` change the
    weights, compiled by XLA and under `mixed_float16` too; every trainable weight gets a gradient.

    Args:
        build: Returns the model; called again for other dtype policies.
        batch: `{input: array}` of at least 3 samples. Where it has `<name>_present`, some samples
            should lack the modality.
        labels: `{output: array}` of the outputs that have a loss.
        loss: As `compile` takes it; `None`: `mm.losses.classification()` for each of `labels`.
        jit_compile: Whether to run a step compiled by XLA.
        may_lack_gradient: Parts of the paths of weights that may have a gradient of zero.
        further: Further checks, each called with the model and the batch; for exports.
        rtol: Relative tolerance.

    Raises:
        AssertionError: If something does not hold.
    """
    model = build()
    name = name_of(model)
    loss = loss or {key: classification() for key in labels}
    expected = to_numpy(model(batch, training=False))
    require(isinstance(expected, dict), f"Outputs of {name} must be a dict, not {type(expected)}.")
    require_finite(expected, f"output of {name}")
    require_specs(model.output, expected, name)

    def same(other, inputs, what):
        require_close(to_numpy(other(inputs, training=False)), expected, f"{name}: {what}", rtol)

    loaded = saved_and_loaded(model)
    require_same_weights(model, loaded, name)
    same(loaded, batch, "predictions after saving and loading")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    same(clone, batch, "predictions of a clone with the same weights")
    same(model, dict(reversed(batch.items())), "predictions with inputs in reverse order")
    _check_batches(model, batch, expected, name, rtol)
    _check_presence(model, batch, expected, name)
    _check_inference_model(model, batch, expected, name, rtol)
    for check in further:
        check(model, batch)

    require_gradients(
        lambda _: _model_gradients(model, batch, labels, loss), name, may_lack_gradient
    )
    before = model.get_weights()
    _fit_step(model, batch, labels, loss, name)
    require(
        any(np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True)),
        f"{name}: a step of fit changes no weight.",
    )
    if jit_compile:
        _fit_step(build(), batch, labels, loss, f"{name} with jit_compile=True", jit_compile=True)
    with dtype_policy("mixed_float16"):
        mixed = build()
        outputs = to_numpy(mixed(batch, training=False))
        require_finite(outputs, f"output of {name} under mixed_float16")
        for key in labels:
            require(
                outputs[key].dtype == np.float32,
                f"{name}: output {key!r} is {outputs[key].dtype} under mixed_float16.",
            )
        _fit_step(mixed, batch, labels, loss, f"{name} under mixed_float16", run_eagerly=True)


def _check_batches(model, batch, expected, name, rtol) -> None:
    size = len(next(iter(batch.values())))
    for batch_size in (1, size - 1):  # the last one leaves a batch of one sample
        parts = model.predict(batch, batch_size=batch_size, verbose=0)
        require_close(parts, expected, f"{name}: predictions in batches of {batch_size}", rtol)


def _check_presence(model, batch, expected, name) -> None:
    for key in [key for key in batch if key.endswith(PRESENT)]:
        modality = key.removesuffix(PRESENT)
        absent = ~np.asarray(batch[key], "bool")
        if absent.shape[1] == 1:  # else one for each view
            absent = absent[:, 0]
        require(absent.any(), f"`batch` must have samples without {modality!r}.")
        data = batch[modality]
        kinds = [1] if np.issubdtype(data.dtype, np.integer) else [0.5, np.inf, np.nan]
        for garbage in kinds:
            replaced = data.copy()
            replaced[absent] = garbage
            outputs = to_numpy(model({**batch, modality: replaced}, training=False))
            for output, array in outputs.items():
                require(
                    np.array_equal(array, expected[output]),
                    f"{name}: {garbage} in absent samples of {modality!r} changes {output!r}.",
                )


def _check_inference_model(model, batch, expected, name, rtol) -> None:
    shipped = inference_model(model)
    left = [layer.name for layer in shipped.layers if isinstance(layer, TrainingOnly)]
    require(not left, f"{name}: mm.inference_model leaves {left}.")
    needed = {key: batch[key] for key in shipped.input}  # Keras sorts: one too many, all are wrong
    outputs = to_numpy(shipped(needed, training=False))
    require(outputs.keys() <= expected.keys(), f"{name}: mm.inference_model adds outputs.")
    kept = {key: expected[key] for key in outputs}
    require_close(outputs, kept, f"{name}: predictions of mm.inference_model", rtol)


def _model_gradients(model, batch, labels, loss) -> dict[str, np.ndarray | None]:
    recorder = Recorder()
    model.compile(recorder, loss, run_eagerly=True, auto_scale_loss=False)
    model.train_on_batch(dict(batch), dict(labels))
    return by_path(model, recorder)


def _fit_step(model, batch, labels, loss, name, jit_compile=False, run_eagerly=False) -> None:
    model.compile(
        keras.optimizers.SGD(0.01), loss, jit_compile=jit_compile, run_eagerly=run_eagerly
    )
    history = model.fit(dict(batch), dict(labels), verbose=0)
    require_finite(np.array(history.history["loss"]), f"loss of {name} in fit")
    for weight in model.weights:
        require_finite(weight.numpy(), f"weight {weight.path!r} of {name} after fit")
