"""The check that every loss passes."""

import keras
import numpy as np
from keras import ops

from mm_keras.testing.compare import name_of, require, require_close, require_finite, to_numpy
from mm_keras.testing.gradients import gradients
from mm_keras.testing.layer import check_serialization


def check_loss(
    loss: keras.losses.Loss,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    float16_y_pred: np.ndarray | None = None,
    rtol: float = 1e-5,
) -> None:
    """Checks whatever must hold for any loss.

    Its config makes it again; it honours `sample_weight` and every reduction; eager, compiled and
    XLA results agree; in float16 it and its gradient are finite.

    Args:
        loss: With a reduction of any kind.
        y_true: Labels of at least 2 samples.
        y_pred: Predictions for them, float32.
        float16_y_pred: Predictions that are hard on float16; `None`: `y_pred`.
        rtol: Relative tolerance.

    Raises:
        AssertionError: If something does not hold.
    """
    name = name_of(loss)
    check_serialization(loss)

    def reduced(reduction):
        return type(loss).from_config({**loss.get_config(), "reduction": reduction})

    each = to_numpy(reduced(None)(y_true, y_pred))
    require(each.shape == (len(y_pred),), f"{name} gives shape {each.shape}, not one a sample.")
    require_finite(each, f"value of {name}")
    weight = np.linspace(0.0, 2.0, len(y_pred)).astype("float32")
    reductions = {
        None: (each, weight * each),
        "sum": (each.sum(), (weight * each).sum()),
        "sum_over_batch_size": (each.mean(), (weight * each).mean()),
        "mean": (each.mean(), (weight * each).mean()),
        "mean_with_sample_weight": (each.mean(), (weight * each).sum() / weight.sum()),
    }
    for reduction, (plain, weighted) in reductions.items():
        what = f"{name} with reduction={reduction!r}"
        function = reduced(reduction)
        require_close(to_numpy(function(y_true, y_pred)), plain, what, rtol)
        value = to_numpy(function(y_true, y_pred, sample_weight=weight))
        require_close(value, weighted, f"{what} and sample_weight", rtol)

    half = y_pred if float16_y_pred is None else float16_y_pred
    with np.errstate(over="ignore"):
        half = np.asarray(half, "float16")
    each = reduced(None)
    require_finite(to_numpy(each.call(y_true, half)), f"float16 value of {name}")
    found = gradients(
        lambda x: each.call(y_true, ops.cast(x["y_pred"], "float16")),
        None,
        {"y_pred": half.astype("float32")},
    )
    require_finite(found["y_pred"], f"float16 gradient of {name}")

    whole = to_numpy(reduced("sum_over_batch_size")(y_true, y_pred))
    for jit in (False, True):
        inputs = keras.Input(y_pred.shape[1:])
        model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
        model.compile(loss=reduced("sum_over_batch_size"), jit_compile=jit)
        compiled = model.test_on_batch(y_pred, y_true)
        require_close(compiled, whole, f"{name} compiled with jit_compile={jit}", rtol)
