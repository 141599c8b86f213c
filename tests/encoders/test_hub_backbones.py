"""Backbones of keras_hub, made without a download, in mm.Text and mm.Image."""

import os

import keras
import numpy as np
import pytest

import mm_keras as mm

pytestmark = pytest.mark.slow
keras_hub = pytest.importorskip("keras_hub", reason="keras_hub is an optional extra")

SIZES = {
    "vocabulary_size": 20,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 8,
    "max_sequence_length": 6,
}
IDS = np.array([[3, 4, 5, 0, 0, 0], [7, 0, 0, 0, 0, 0], [2, 9, 8, 7, 6, 5], [0] * 6], "int32")


def resnet():
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    )


def text(kind):
    return mm.Text(6, 20, backbone=getattr(keras_hub.models, kind)(**SIZES, name="mine"))


# id: (modality, its input, positions)
CASES = {
    "DistilBERT": (lambda: text("DistilBertBackbone"), IDS, 6),
    "BERT": (lambda: text("BertBackbone"), IDS, 6),  # takes segment_ids, returns a dict
    "ResNet": (
        lambda: mm.Image((16, 16, 3), backbone=resnet()),
        np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32"),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_train_save_and_reload(case, tmp_path):
    make, x, positions = CASES[case]
    spec = make()
    name = spec.backbone.name
    model = mm.build_mcnn({"x": spec}, 2, width=4)
    assert spec.backbone.name == name
    if positions:
        assert model.get_layer("x_projection").output.shape == (None, positions, 4)

    model.compile(keras.optimizers.SGD(0.5), mm.losses.classification(), jit_compile=False)
    before = [w.numpy() for w in spec.backbone.trainable_weights]
    model.fit({"x": x}, np.array([0, 1, 0, 1]), batch_size=4, verbose=0)
    changed = [
        not np.array_equal(old, new)
        for old, new in zip(before, spec.backbone.trainable_weights, strict=True)
    ]
    # BERT's pooler is not used: only the sequence is.
    assert sum(changed) >= len(changed) - 2

    path = os.fspath(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(
        loaded.predict({"x": x}, verbose=0)["label"],
        model.predict({"x": x}, verbose=0)["label"],
        atol=1e-6,
    )
    assert mm.modalities_of(loaded)["x"].backbone == f"model:{name}"


@pytest.mark.parametrize("kind", ["DistilBertBackbone", "BertBackbone"])
def test_padding_has_no_effect(kind):
    model = mm.build_mcnn({"text": text(kind)}, mm.Regression(2), width=4)
    weights = model.get_layer("text_backbone").weights
    table = next(w for w in weights if w.shape[0] == 20)
    before = model({"text": IDS})["label"].numpy()
    table.assign(np.concatenate([np.full((1, 8), 9.0), table.numpy()[1:]]))  # padding's own row
    np.testing.assert_allclose(model({"text": IDS})["label"], before, atol=1e-5)
    table.assign(np.full((20, 8), np.arange(8.0)))
    assert np.abs(model({"text": IDS})["label"].numpy() - before).max() > 1e-4
