"""`check_dataset`: what doesn't fit is named before training starts."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm


@pytest.fixture(scope="module")
def model():
    return mm.build_mcnn(
        {"a": mm.Features(4), "b": mm.Features(3, optional=True)},
        {"digit": 10, "tags": mm.MultiLabel(2)},
        width=4,
    )


def batches(inputs=None, labels=None, count=6):
    inputs = {
        "a": np.zeros((count, 4), "float32"),
        "b": np.zeros((count, 3), "float32"),
        "b_present": np.ones((count, 1), bool),
    } | (inputs or {})
    labels = {"digit": np.arange(count) % 10, "tags": np.zeros((count, 2))} | (labels or {})
    inputs = {name: value for name, value in inputs.items() if value is not None}
    labels = {name: value for name, value in labels.items() if value is not None}
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)


def test_counts_the_samples_of_a_dataset_that_fits(model):
    assert mm.data.check_dataset(batches(), model) == 6
    assert mm.data.check_dataset(batches(), model, batches=1) == 4


NAN = np.zeros((6, 4), "float32")
NAN[5, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"a": None}}, r"without \['a'\]"),
        ({"inputs": {"b_present": None}}, r"without \['b_present'\]"),
        ({"inputs": {"a": np.zeros((6, 5))}}, r"'a' in batches of shape \('B', 4\).*\(4, 5\)"),
        ({"inputs": {"a": NAN}}, r"NaN or infinity in 'a' of sample 5"),
        ({"labels": {"tags": None, "digit": None}}, r"at least one output out of.*'tags'"),
        (
            {"labels": {"digits": np.zeros(6)}},
            r"Did you mean 'digit'\? Received labels for: 'digits'",
        ),
        ({"labels": {"tags": np.zeros((6, 3))}}, r"'tags' must have 2 columns.*\(4, 3\)"),
        ({"labels": {"digit": np.array([0, 1, 2, 3, 4, 12])}}, r"'digit'.*0…9. Received: 12"),
        ({"labels": {"digit": np.array([0, -1, 2, 3, 4, 5])}}, r"0…9. Received: -1"),
        ({"labels": {"digit": np.array([0, 1.5, 2, 3, 4, 5])}}, r"whole numbers.*1\.5"),
    ],
)
def test_names_what_does_not_fit(model, change, message):
    with pytest.raises(ValueError, match=message):
        mm.data.check_dataset(batches(**change), model)


def test_several_outputs_need_a_dict_of_labels(model):
    data = batches().map(lambda inputs, labels: (inputs, labels["digit"]))
    with pytest.raises(ValueError, match=r"dict for the outputs \['digit', 'tags'\]"):
        mm.data.check_dataset(data, model)


def test_elements_must_be_pairs_and_not_empty(model):
    with pytest.raises(ValueError, match=r"\(inputs, labels\)"):
        mm.data.check_dataset(batches().map(lambda inputs, labels: inputs), model)
    with pytest.raises(ValueError, match="at least one sample"):
        mm.data.check_dataset(batches().take(0), model)


def test_one_output_takes_plain_labels():
    model = mm.build_mcnn({"a": mm.Features(4)}, 3, width=4)
    data = tf.data.Dataset.from_tensor_slices(({"a": np.zeros((3, 4))}, [0, 1, 3])).batch(3)
    with pytest.raises(
        ValueError,
        match=r"'label' must be whole numbers in 0…2. Received: 3, .*num_classes of at least 4",
    ):
        mm.data.check_dataset(data, model)


SOFTMAX = mm.losses.classification()


def vectors(labels):
    inputs = {"a": np.zeros((3, 4), "float32"), "b": np.zeros((3, 4), "float32")}
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(3)


def gated():
    return mm.build_dfn({"a": mm.Features(4), "b": mm.Features(4)}, {"x": 2, "y": 3}, width=4)


def students():
    return mm.build_dml({"a": mm.Features(4), "b": mm.Features(4)}, 3, width=4)


def test_without_compiling_the_labels_that_are_there_are_checked(model):
    assert mm.data.check_dataset(batches(labels={"tags": None}), model) == 6
    assert mm.data.check_dataset(vectors({"y": [0, 1, 2]}), gated()) == 3
    with pytest.raises(
        ValueError,
        match=r"'y' must be whole numbers in 0…2. Received: 3, .*num_classes of at least 4",
    ):
        mm.data.check_dataset(vectors({"y": [0, 1, 3]}), gated())


@pytest.mark.parametrize("others", [{}, {"gates": None}])
def test_outputs_without_a_loss_need_no_labels(others):
    model = gated()
    model.compile("sgd", {"x": SOFTMAX, "y": SOFTMAX, **others})
    assert mm.data.check_dataset(vectors({"x": [0, 1, 1], "y": [0, 1, 2]}), model) == 3
    with pytest.raises(ValueError, match=r"labels for the output 'y', which has a loss.*\['x'\]"):
        mm.data.check_dataset(vectors({"x": [0, 1, 1]}), model)


def test_one_loss_is_that_of_every_output():
    model = gated()
    model.compile("sgd", SOFTMAX)
    with pytest.raises(ValueError, match=r"output 'gates', which has a loss.*dict of losses with"):
        mm.data.check_dataset(vectors({"x": [0, 1, 1], "y": [0, 1, 2]}), model)


def test_a_student_without_labels_is_named_and_the_ensemble_needs_none():
    model = students()
    model.compile("sgd", {"a": SOFTMAX, "b": SOFTMAX})
    assert mm.data.check_dataset(vectors({"a": [0, 1, 1], "b": [0, 1, 1]}), model) == 3
    with pytest.raises(ValueError, match="labels for the output 'b'"):
        mm.data.check_dataset(vectors({"a": [0, 1, 1], "label": [0, 1, 1]}), model)
    wrong = {"a": [0, 1, 1], "b": [0, 1, 1], "label": [0, 1, 7]}
    with pytest.raises(ValueError, match=r"'label' must be whole numbers in 0…2. Received: 7"):
        mm.data.check_dataset(vectors(wrong), model)


def test_metrics_need_labels_for_every_output_as_keras_does():
    model, data = gated(), vectors({"x": [0, 1, 1], "y": [0, 1, 2]})
    model.compile("sgd", {"x": SOFTMAX, "y": SOFTMAX}, metrics={"x": "accuracy"})
    with pytest.raises(KeyError, match="gates"):
        model.fit(data, verbose=0)
    model = gated()
    model.compile("sgd", {"x": SOFTMAX, "y": SOFTMAX}, metrics={"x": "accuracy"})
    with pytest.raises(ValueError, match=r"labels_for_outputs.*without \['gates'\]"):
        mm.data.check_dataset(data, model)
    data = mm.data.labels_for_outputs(data, model)
    assert mm.data.check_dataset(data, model) == 3
    assert "x_accuracy" in model.fit(data, verbose=0).history


def test_a_dict_is_asked_for_the_outputs_that_have_a_loss():
    model = mm.build_dfn({"a": mm.Features(4), "b": mm.Features(4)}, 2, width=4)
    model.compile("sgd", {"label": SOFTMAX})
    with pytest.raises(ValueError, match=r"dict for the outputs \['label'\]"):
        mm.data.check_dataset(vectors([0, 1, 1]), model)


PICTURES = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
SOUND = np.sin(np.arange(4 * 800, dtype="float32")).reshape(4, 800)


@pytest.fixture(scope="module")
def sees_and_hears():
    specs = {"image": mm.Image((8, 8, 3), backbone="SmallCNN"), "audio": mm.Audio(800, 8000)}
    return mm.build_mcnn(specs, 2, width=4)


def pictures(image=PICTURES * 255, audio=SOUND):
    inputs = {"image": image, "audio": audio}
    inputs = {name: np.asarray(values) for name, values in inputs.items()}
    return tf.data.Dataset.from_tensor_slices((inputs, [0, 1, 0, 1])).batch(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": PICTURES}, r"'image' as pixels 0-255.*from 0\.\d+ to 0\.\d+: multiply by 255"),
        ({"image": PICTURES * 2 - 1}, r"'image' as pixels.*from -0\.\d+ to 0\.\d+: undo"),
        ({"image": PICTURES * 4 - 2}, r"'image' as pixels 0-255.*undo what normalises them"),
        ({"image": (PICTURES * 65535).astype("uint16")}, r"'image' as pixels.*16-bit.*by 257"),
        ({"audio": (SOUND * 32767).astype("int16")}, r"'audio' as a waveform -1 to 1.*by 32768"),
        ({"audio": SOUND * 32767}, r"'audio' as a waveform -1 to 1.*by 32768"),
    ],
)
def test_other_units_are_named(sees_and_hears, change, message):
    with pytest.raises(ValueError, match=message):
        mm.data.check_dataset(pictures(**change), sees_and_hears)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"image": np.zeros_like(PICTURES), "audio": np.zeros_like(SOUND)},  # black and silent
        {"image": (PICTURES * 255).astype("uint8")},
        {"image": (PICTURES > 0.5).astype("uint8")},  # nearly black
        {"image": np.concatenate([PICTURES[:3], PICTURES[3:] * 255])},  # some are dark
        {"image": PICTURES * 300 - 20, "audio": SOUND * 3},  # augmented
    ],
)
def test_units_are_not_mistaken(sees_and_hears, change):
    assert mm.data.check_dataset(pictures(**change), sees_and_hears) == 4


def test_a_backbone_of_ones_own_takes_what_pixels_it_likes():
    import keras

    own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    for options in ({"backbone": own}, {"backbone": "SmallCNN", "preprocessing": "none"}):
        specs = {"image": mm.Image((8, 8, 3), **options), "audio": mm.Audio(800, 8000)}
        model = mm.build_mcnn(specs, 2, width=4)
        assert mm.data.check_dataset(pictures(image=PICTURES), model) == 4
