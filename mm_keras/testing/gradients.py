"""Gradients on any backend, read by an optimizer that keeps what it is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from mm_keras.testing.compare import require, require_finite, to_numpy

SEED = 0
TRIES = 3  # random directions in which a gradient may be non-zero


def gradients(
    function: Callable[..., Any],
    layer: keras.layers.Layer | None,
    inputs: Mapping[str, np.ndarray] | None = None,
    seed: int = SEED,
) -> dict[str, np.ndarray | None]:
    """Returns gradients of a random linear function of what `function` returns, on any backend.

    The layer runs in training mode; losses that it adds count too.

    Args:
        function: Called without arguments, or with `inputs` as tensors.
        layer: Its trainable weights are asked for; built.
        inputs: `{name: float array}` whose gradients are asked for too.
        seed: Of the linear function.

    Returns:
        `{path of the weight, or name of the input: gradient}`; `None` where there is none.
    """
    probe = _Probe(function, layer, inputs or {}, seed)
    recorder = Recorder()
    probe.compile(recorder, _mean_output, run_eagerly=True, auto_scale_loss=False)
    probe(np.zeros((1, 1)))
    probe.train_on_batch(np.zeros((1, 1)), np.zeros((1, 1)))
    found = by_path(probe, recorder)
    for name, variable in probe.probes.items():
        found[name] = found.pop(variable.path)
    return found


def require_gradients(
    compute: Callable[[int], Mapping[str, np.ndarray | None]],
    name: str,
    may_lack_gradient: Sequence[str] = (),
) -> None:
    """Requires a gradient for every weight, non-zero for one of a few seeds.

    Args:
        compute: Returns `{path: gradient}` for a seed.
        name: Of the layer or model.
        may_lack_gradient: Parts of the paths of weights whose gradient may be zero.
    """
    idle: set[str] | None = None
    for seed in range(TRIES):
        found = compute(seed)
        for path, gradient in found.items():
            require(gradient is not None, f"{name}: {path!r} gets no gradient.")
            require_finite(gradient, f"gradient of {path!r} in {name}")
        zero = {path for path, gradient in found.items() if not np.any(gradient)}
        idle = zero if idle is None else idle & zero
        if not idle:
            return
    idle = {path for path in idle if not any(part in path for part in may_lack_gradient)}
    require(not idle, f"{name}: the gradient is zero for {sorted(idle)}.")


def by_path(model, recorder) -> dict[str, np.ndarray | None]:
    """Returns `{path: gradient}` of the step that `recorder` saw last."""
    return {v.path: recorder.received.get(id(v)) for v in model.trainable_variables}


class Recorder(keras.optimizers.Optimizer):
    """Keeps the gradients that it is given and changes no weight."""

    def __init__(self):
        super().__init__(learning_rate=0.0)
        self.received: dict[int, np.ndarray | None] = {}

    def build(self, variables):
        super().build(variables)
        self.asked = list(variables)

    def apply(self, grads, trainable_variables=None):  # JAX names the variables in `build` alone
        variables = self.asked if trainable_variables is None else trainable_variables
        for variable, gradient in zip(variables, grads, strict=True):
            value = None if gradient is None else to_numpy(gradient)
            self.received[id(variable)] = value


class _Probe(keras.Model):
    """Makes inputs weights, so that `train_on_batch` finds their gradient on every backend."""

    def __init__(self, function, layer, inputs, seed):
        super().__init__(dtype="float32")
        self.function = function
        self.layer = layer
        self.seed = seed
        self.probes = {
            name: self.add_weight(shape=array.shape, initializer="zeros", name=f"probe_{name}")
            for name, array in inputs.items()
        }
        for name, array in inputs.items():
            self.probes[name].assign(array)

    def call(self, inputs, training=None):
        values = {name: ops.convert_to_tensor(v) for name, v in self.probes.items()}
        outputs = self.function(values) if values else self.function()
        rng = np.random.default_rng(self.seed)
        total = ops.sum(ops.cast(inputs, "float32"))
        for output in tree.flatten(outputs):
            if keras.backend.is_float_dtype(output.dtype):
                direction = rng.normal(size=output.shape).astype("float32")
                total += ops.sum(ops.cast(output, "float32") * direction)
        return ops.reshape(total, (1, 1))


def _mean_output(y_true, y_pred):
    return ops.mean(y_pred)
