"""Weights of one model for another: what is copied, what is not, and what is refused."""

import numpy as np
import pytest

import mm_keras as mm

IMAGE = mm.Image((8, 8, 1), backbone="SmallCNN")
TEXT = mm.Text(4, 9, embedding=8)
WORDS = TEXT.adapt(["a red cat", "a dog"])


def build(modalities=None, classes=3, **options):
    return mm.build_mcnn(modalities or {"image": IMAGE}, classes, width=8, **options)


def weights(model, layer):
    return model.get_layer(layer).get_weights()


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_all_that_fits_is_copied_and_the_rest_is_named():
    source = build({"image": IMAGE, "audio": mm.Features(4)}, 10)
    target = build({"image": IMAGE, "table": mm.Features(4), "audio": mm.Features(5)}, 3)
    for model in (source, target):  # biases and statistics, too
        model.set_weights([w + np.random.default_rng(0).random(w.shape) for w in model.weights])
    before = {layer.name: layer.get_weights() for layer in target.layers}
    copied, skipped = mm.transfer_weights(source, target)
    assert copied == {n: n for n in ("image_backbone", "image_projection")}
    assert skipped == {
        "audio_projection": "kernel (4, 8) there, kernel (5, 8) here",
        "table_projection": "not in the source",
        "label_logits": "kernel (16, 10), bias (10,) there, kernel (24, 3), bias (3,) here",
    }
    for name in copied:
        assert same(weights(target, name), weights(source, name))
        assert not same(weights(target, name), before[name])
    for name in skipped:
        assert same(weights(target, name), before[name])


def test_predictions_are_those_of_the_source():
    source, target = build(), build()
    x = {"image": np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1))}
    assert np.abs(source(x)["label"] - target(x)["label"]).max() > 1e-3
    mm.transfer_weights(source, target)
    np.testing.assert_array_equal(source(x)["label"], target(x)["label"])


def test_only_the_layers_that_are_named():
    source, target = build(), build()
    before = weights(target, "label_logits")
    done = mm.transfer_weights(source, target, ["image_backbone"])
    assert done == mm.models.Transfer({"image_backbone": "image_backbone"}, {})
    assert same(weights(target, "label_logits"), before)
    done = mm.transfer_weights(source, target, ["image_*"])
    assert sorted(done.copied) == ["image_backbone", "image_projection"]


def test_between_modalities_of_other_names():
    source, target = build(), build({"photo": IMAGE})
    done = mm.transfer_weights(source, target, {"photo_backbone": "image_backbone"})
    assert done.copied == {"photo_backbone": "image_backbone"}
    assert same(weights(target, "photo_backbone"), weights(source, "image_backbone"))


@pytest.mark.parametrize("trainable", [False, 4])
def test_freezing_does_not_change_the_order_of_weights(trainable):
    frozen = {"image": mm.Image((8, 8, 1), backbone="SmallCNN", trainable=trainable)}
    source, target = build(), build(frozen)
    mm.transfer_weights(source, target)
    x = {"image": np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1))}
    np.testing.assert_array_equal(source(x)["label"], target(x)["label"])
    assert bool(target.get_layer("image_backbone").trainable_weights) == bool(trainable)


def test_texts_keep_their_backbone_where_the_vocabulary_is_another():
    other = TEXT.adapt(["some other", "words of them"])
    source, target = build({"text": WORDS}), build({"text": other})
    done = mm.transfer_weights(source, target)
    assert "vocabulary" in done.skipped["text_backbone"]
    assert "text_projection" in done.copied
    with pytest.raises(ValueError, match="texts of another vocabulary: give both specs"):
        mm.transfer_weights(source, target, ["text_backbone"])
    again = build({"caption": WORDS})
    assert mm.transfer_weights(source, again, {"caption_backbone": "text_backbone"}).copied


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["image_backbne"], "'image_backbne': 'not in the target'"),
        (["audio_*"], r"'audio_\*': 'not in the target'"),
        ({"image_backbone": "x"}, "'image_backbone': 'not in the source'"),
        (["image_backbone", "label_logits"], r"'label_logits': 'kernel \(8, 10\), bias"),
        ({"image_backbone": "image_projection"}, "'2 weights there, 30 here'"),
        ([], r"layers=\[\]"),
    ],
)
def test_what_was_asked_for_must_fit(layers, message):
    source, target = build(classes=10), build()
    before = target.get_weights()
    with pytest.raises(ValueError, match=f"`layers` must name layers that .*{message}"):
        mm.transfer_weights(source, target, layers)
    assert same(target.get_weights(), before)


def test_models_without_anything_in_common():
    with pytest.raises(ValueError, match=r"What does not fit: .*'photo_backbone': 'not in the sou"):
        mm.transfer_weights(build(), build({"photo": IMAGE}, {"kind": 2}))


def test_one_string_is_refused():
    with pytest.raises(TypeError, match=r"`layers` must be a sequence of names.*put it in a list"):
        mm.transfer_weights(build(), build(), "image_backbone")
