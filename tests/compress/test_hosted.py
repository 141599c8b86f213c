"""tf_keras models trained with what belongs to Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress.bridge import to_tf_keras
from mm_keras.compress.hosted import Hosted
from mm_keras.compress.parity import difference
from tests.conformance.cases import floats


def build():
    keras.utils.set_random_seed(0)
    return mm.build_dml({"a": mm.Features(6), "b": mm.Features(4)}, 3, width=8)


def train(model, folder, optimizer):
    """Trains with an added loss whose weight a callback moves, sample weights and a checkpoint."""
    labels = np.arange(16) % 3
    weights = np.linspace(0, 2, 16, dtype="float32")
    inputs = {"a": floats(16, 6), "b": floats(16, 4, seed=1)}
    names = ["a", "b", "label"]
    data = tf.data.Dataset.from_tensor_slices(
        (inputs, dict.fromkeys(names, labels), dict.fromkeys(names, weights))
    ).batch(8)
    model.compile(
        optimizer,
        loss=mm.training.student_losses(build()),
        metrics={"label": "accuracy"},
        weighted_metrics={"a": "accuracy"},
        jit_compile=False,
    )
    path = folder / f"{type(model).__name__}.keras"
    history = model.fit(
        data,
        validation_data=data,
        epochs=3,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(path),
            mm.training.MutualRampUp(warmup=1, rampup=1),
            keras.callbacks.EarlyStopping(
                "loss", mode="max", patience=9, restore_best_weights=True
            ),
        ],
    ).history
    return history, keras.models.load_model(path), inputs


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_training_is_that_of_keras(tmp_path, optimizer):
    model = build()
    bridge = to_tf_keras(model)
    host = Hosted(bridge.model, bridge.to_keras, bridge.source.layers)
    expected, expected_file, inputs = train(model, tmp_path, optimizer)
    found, file, _ = train(host, tmp_path, optimizer)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    assert len(set(expected["loss"])) == 3
    # What EarlyStopping restored, and what ModelCheckpoint wrote last.
    assert difference(model(inputs), bridge.to_keras()(inputs)) < 1e-5
    assert difference(expected_file(inputs), file(inputs)) < 1e-5
    assert difference(file(inputs), bridge.to_keras()(inputs)) > 1e-4


def test_what_is_not_possible_raises(tmp_path):
    host = Hosted(to_tf_keras(build()).model)
    with pytest.raises(ValueError, match="`optimizer` must not be Adafactor"):
        host.compile("adafactor", loss="mse")
    with pytest.raises(NotImplementedError, match="`save` is not possible"):
        host.save(tmp_path / "x.keras")
    with pytest.raises(NotImplementedError, match=r"cannot load weights.*BackupAndRestore"):
        host.load_weights(tmp_path / "x.weights.h5")
