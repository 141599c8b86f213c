"""Probabilities that mean what they say, in the model itself."""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from mm_keras.evaluate.samples import Data, class_numbers, predictions_of
from mm_keras.layers import TemperatureScaling

BOUNDS = (0.05, 20.0)


def calibrate(model: keras.Model, data: Data, batch_size: int = 32) -> keras.Model:
    """Returns a model whose heads are calibrated by temperature scaling, one temperature each.

    A head's temperature is the one with the smallest negative log-likelihood on the data, which the
    model must not have been trained on. Predicted classes don't change; the layer
    `<head>_temperature` holds it and goes into every export. Layers and weights are shared with
    the model, and outputs that the data have no labels of pass as they are.

    Args:
        model: With a dict of outputs that are probabilities: of a softmax, or, where labels are
            `(n, C)` of zeros and ones in any number, of sigmoids.
        data: Batches of `({name: …}, labels)`, or one such tuple of whole arrays.
        batch_size: Of whole arrays.

    Raises:
        ValueError: If an output is no probabilities, or the data lack inputs.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> calibrated = mm.evaluate.calibrate(model, ({"a": x}, (x[:, 0] > 0).astype(int)))
    >>> calibrated.get_layer("label_temperature").temperature > 0
    True

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    labels, outputs = predictions_of(model, data, batch_size)
    if not labels:
        raise ValueError(
            f"`data` must have labels of an output out of {sorted(model.output)}. Received: none."
        )
    scaled = {}
    for head, true in labels.items():
        independent = _is_independent(head, outputs[head])
        temperature = _best_temperature(true, outputs[head], independent)
        layer = TemperatureScaling(temperature, independent, name=f"{head}_temperature")
        scaled[head] = layer(model.output[head])
    return keras.Model(model.input, {**model.output, **scaled}, name=model.name)


def _is_independent(head: str, outputs: np.ndarray) -> bool:
    """Returns whether outputs are of sigmoids; raises unless they are probabilities."""
    if outputs.ndim != 2 or outputs.min() < 0 or outputs.max() > 1:
        raise ValueError(
            f"`model` must have probabilities as the output {head!r}, not logits. Received: "
            f"shape {outputs.shape}, numbers from {outputs.min():.4g} to {outputs.max():.4g}."
        )
    return not np.allclose(outputs.sum(axis=1), 1, atol=1e-2)


def _best_temperature(labels: np.ndarray, outputs: np.ndarray, independent: bool) -> float:
    probabilities = np.maximum(outputs.astype("float64"), 1e-30)
    if independent:
        true = labels.reshape(probabilities.shape).astype("float64")
        logits = np.log(probabilities) - np.log(np.maximum(1 - outputs.astype("float64"), 1e-30))

        def loss(log_temperature):
            x = logits / np.exp(log_temperature)
            return np.mean(np.logaddexp(0, x) - true * x)
    else:
        logits = np.log(probabilities)
        own = logits[np.arange(len(logits)), class_numbers(labels, logits.shape[1])]

        def loss(log_temperature):
            x = logits / np.exp(log_temperature)
            return np.mean(np.logaddexp.reduce(x, axis=1) - own / np.exp(log_temperature))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))
