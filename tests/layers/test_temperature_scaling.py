"""Temperature scaling of probabilities against that of the logits behind them."""

import keras
import numpy as np
import pytest

from mm_keras.layers import TemperatureScaling
from tests.conformance.cases import floats

LOGITS = 3 * floats(6, 4)


def softmax(x):
    exps = np.exp(x - x.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_it_divides_the_logits(temperature):
    found = TemperatureScaling(temperature)(softmax(LOGITS))
    np.testing.assert_allclose(found, softmax(LOGITS / temperature), atol=1e-6)
    found = TemperatureScaling(temperature, independent=True)(1 / (1 + np.exp(-LOGITS)))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-LOGITS / temperature)), atol=1e-6)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sure_predictions_stay_finite_and_in_order(dtype, independent):
    sure = np.array([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0]], dtype)
    found = keras.ops.convert_to_numpy(TemperatureScaling(5.0, independent)(sure))
    assert found.dtype == "float32"
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 0])
    assert found[0, 0] > found[1, 0] > found[1, 1] > found[1, 2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": 0}, ValueError, "`temperature` must be above 0"),
        ({"temperature": -1.0}, ValueError, "`temperature` must be at least 0"),
        ({"independent": 1}, TypeError, "`independent` must be a bool"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        TemperatureScaling(**options)
