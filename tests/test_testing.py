"""The generic checks find what they are for; that good layers pass is in `test_conformance.py`."""

import keras
import numpy as np
import pytest
from keras import ops

import mm_keras as mm
from mm_keras import testing
from tests.conformance.cases import floats

register = keras.saving.register_keras_serializable("tests")


@register
class Good(keras.layers.Layer):
    """Breaks nothing; the others differ from it in one point."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.other = self.add_weight(shape=(self.units,), name="other")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.other

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class ForgetsItsArgument(Good):
    def get_config(self):
        return keras.layers.Layer.get_config(self)


@register
class ForetellsAnotherShape(Good):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@register
class ForetellsAnotherDtype(Good):
    def call(self, inputs):
        return ops.cast(super().call(inputs), "int32")


@register
class LooksAtBatchMates(Good):
    def call(self, inputs):
        return super().call(inputs - ops.mean(inputs, axis=0, keepdims=True))


@register
class LeavesAWeight(Good):
    def call(self, inputs):
        return ops.matmul(inputs, self.kernel)


@register
class StopsAGradient(Good):
    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + 0.0 * self.other


@register
class Overflows(Good):
    def call(self, inputs):
        return super().call(ops.square(inputs * 1e3))


@register
class LosesAWeight(Good):
    def save_own_variables(self, store):
        store["0"] = self.kernel

    def load_own_variables(self, store):
        self.kernel.assign(store["0"])

    def build(self, input_shape):
        super().build(input_shape)
        self.other.assign(np.random.default_rng().normal(size=self.units))


LAYERS = {
    ForgetsItsArgument: r"get_config\(\) of ForgetsItsArgument .* lacks `units`",
    ForetellsAnotherShape: r"Output 0 of .* is foretold as \(None, 1\) and has shape \(4, 4\)",
    ForetellsAnotherDtype: "Output 0 of .* is foretold as float32 and is int32",
    LooksAtBatchMates: "output of .* for a batch of 1",
    LeavesAWeight: "'leaves_a_weight.*/other' gets no gradient",
    StopsAGradient: r"the gradient is zero for \['stops_a_gradient.*/other'\]",
    Overflows: "output of .* under mixed_float16 is not finite",
    LosesAWeight: "weight '.*/other' is another after saving",
}


def test_good():
    testing.check_layer(Good(), floats(4, 5))


@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_broken_layers(cls):
    with pytest.raises(AssertionError, match=LAYERS[cls]):
        testing.check_layer(cls(units=4), floats(4, 5))


@register
class IgnoresWeights(mm.losses.ClassificationCrossentropy):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred)


@register
class LogOfZero(mm.losses.ClassificationCrossentropy):
    def call(self, y_true, y_pred):
        return -ops.sum(y_true * ops.log(y_pred), axis=-1)


@register
class Reduces(mm.losses.ClassificationCrossentropy):
    def call(self, y_true, y_pred):
        return ops.mean(super().call(y_true, y_pred))


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (IgnoresWeights, "reduction=None and sample_weight"),
        (LogOfZero, "float16 value of LogOfZero .* is not finite"),
        (Reduces, r"gives shape \(\), not one a sample"),
    ],
)
def test_broken_losses(cls, message):
    y_true = np.eye(3, dtype="float32")
    y_pred = np.full((3, 3), 1 / 3, "float32")
    with pytest.raises(AssertionError, match=message):
        testing.check_loss(cls(), y_true, y_pred, float16_y_pred=np.eye(3)[::-1])


def two_inputs(join):
    """A builder of a model that joins a modality and its presence in some way."""
    x = keras.Input((2,), name="x")
    present = keras.Input((1,), dtype="bool", name="x_present")
    hidden = keras.layers.Dense(3, activation="softmax", name="label")(join(x, present))
    return keras.Model({"x": x, "x_present": present}, {"label": hidden})


def test_broken_presence():
    batch = {"x": floats(3, 2), "x_present": np.array([[True], [False], [True]])}
    labels = {"label": np.array([0, 1, 2])}
    with pytest.raises(AssertionError, match=r"0\.5 in absent samples of 'x' changes 'label'"):
        testing.check_builder(
            lambda: two_inputs(lambda x, present: x + ops.cast(present, "float32")), batch, labels
        )


def test_gradients_against_closed_form():
    layer = keras.layers.Dense(1, use_bias=False)
    x = floats(4, 3)
    layer(x)
    found = testing.gradients(lambda t: layer(t["x"]), layer, {"x": x})
    direction = np.random.default_rng(0).normal(size=(4, 1)).astype("float32")
    np.testing.assert_allclose(found[layer.kernel.path], x.T @ direction, rtol=1e-4)
    np.testing.assert_allclose(found["x"], direction @ layer.kernel.numpy().T, rtol=1e-4)
