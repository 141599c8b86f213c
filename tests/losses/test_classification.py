"""Cross-entropy against NumPy, for labels of every form."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.losses import ClassificationCrossentropy, classification_crossentropy
from tests.conformance.cases import floats

LOGITS = floats(6, 4)
POWERS = np.exp(LOGITS)
PROBABILITIES = (POWERS / POWERS.sum(-1, keepdims=True)).astype("float32")
NUMBERS = np.array([0, 3, 2, 1, 1, 3])
ONE_HOT = np.eye(4, dtype="float32")[NUMBERS]
MIXED = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype("float32")


def oracle(distribution, smoothing):
    smooth = (1 - smoothing) * distribution + smoothing / 4
    return -(smooth * np.log(PROBABILITIES)).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
@pytest.mark.parametrize(
    ("y_true", "distribution"),
    [
        (NUMBERS, ONE_HOT),
        (NUMBERS.astype("float32"), ONE_HOT),
        (NUMBERS[:, None], ONE_HOT),
        (ONE_HOT, ONE_HOT),
        (ONE_HOT.astype("int32"), ONE_HOT),
        (MIXED, MIXED),
    ],
    ids=["(B,)", "(B,) float", "(B, 1)", "one-hot", "one-hot int", "mixed"],
)
def test_oracle(y_true, distribution, from_logits, smoothing):
    y_pred = LOGITS if from_logits else PROBABILITIES
    values = classification_crossentropy(y_true, y_pred, from_logits, smoothing)
    assert values.shape == (6,)
    expected = oracle(distribution, smoothing)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    loss = ClassificationCrossentropy(from_logits, smoothing)
    np.testing.assert_allclose(loss(y_true, y_pred), expected.mean(), rtol=1e-4)


@pytest.mark.parametrize("from_logits", [False, True])
def test_float16(from_logits):
    wrong = np.roll(ONE_HOT, 1, axis=-1).astype("float16")
    y_pred = 6e4 * wrong if from_logits else wrong
    for y_true in (NUMBERS, ONE_HOT):
        values = np.array(classification_crossentropy(y_true, y_pred, from_logits, 0.1))
        assert np.all(np.isfinite(values))
        assert np.all(values > 5)


@pytest.mark.parametrize("shape", [(), (6, 3), (6, 5), (6, 2, 1), (6, 1, 4)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"`y_true` must be class numbers .* \(B, 4\)\. Received"):
        classification_crossentropy(np.zeros(shape), PROBABILITIES)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_label_smoothing(smoothing):
    with pytest.raises(ValueError, match=r"`label_smoothing` must be at least 0\.0 and below 1"):
        ClassificationCrossentropy(label_smoothing=smoothing)


def model():
    inputs = keras.Input((3,), name="x")
    head = keras.layers.Dense(4, activation="softmax", name="label")
    return keras.Model({"x": inputs}, {"label": head(inputs)})


@pytest.mark.parametrize("labels", [NUMBERS, NUMBERS[:, None], ONE_HOT, MIXED])
def test_fit(labels):
    network = model()
    network.compile(
        keras.optimizers.Adam(0.1),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=False,
    )
    history = network.fit({"x": floats(6, 3)}, {"label": labels}, epochs=4, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_is_saved_with_a_compiled_model(tmp_path):
    network = model()
    network.compile("sgd", mm.losses.classification(label_smoothing=0.3), jit_compile=False)
    x = {"x": floats(6, 3)}
    expected = network.evaluate(x, {"label": NUMBERS}, verbose=0)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, ClassificationCrossentropy)
    assert loaded.loss.label_smoothing == 0.3
    assert loaded.evaluate(x, {"label": NUMBERS}, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_classification_passes_its_arguments_on():
    loss = mm.losses.classification(from_logits=True, label_smoothing=0.1)
    assert (loss.from_logits, loss.label_smoothing) == (True, 0.1)
