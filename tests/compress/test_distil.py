"""Distillation: what the loss is, who learns from what, and that it pays on real data."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress import distil
from mm_keras.compress.divergence import Prediction, _divergence, _scores

DATA = os.environ.get("MM_KERAS_DATA")
A, B = mm.Features(4), mm.Features(3)
CPU = {"jit_compile": False}


def softmax(x, temperature=1.0):
    powers = np.exp((x - x.max(-1, keepdims=True)) / temperature)
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(x, temperature=1.0):
    return 1 / (1 + np.exp(-x / temperature))


def kl(p, q):
    return p * (np.log(p) - np.log(q))


def builds(seed, modalities, num_classes=3, **options):
    keras.utils.set_random_seed(seed)
    return mm.build_mcnn(modalities, num_classes, width=8, **options)


def student(seed=0, **options):
    model = builds(seed, {"a": A}, **options)
    model.compile(keras.optimizers.SGD(0.1), mm.losses.classification(), **CPU)
    return model


def teacher(seed=1):
    model = builds(seed, {"a": A, "b": B}, dropout=0.5)
    for weight in model.weights:  # far from uniform
        weight.assign(3 * weight)
    return model


def batches(samples=12, weights=None, seed=0, batch=4):
    rng = np.random.default_rng(seed)
    x = {name: rng.normal(size=(samples, n)).astype("float32") for name, n in (("a", 4), ("b", 3))}
    y = rng.integers(0, 3, samples)
    parts = (x, y) if weights is None else (x, y, np.asarray(weights, "float32"))
    return tf.data.Dataset.from_tensor_slices(parts).batch(batch)


def kernels(model):
    return [np.array(weight) for weight in model.weights]


def same(first, second):
    return all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_divergence_is_that_of_softened_predictions(kind, logits, temperature):
    rng = np.random.default_rng(0)
    taught, scores = 4 * rng.normal(size=(2, 5, 3))
    activate = softmax if kind == "softmax" else sigmoid
    p, q = activate(taught, temperature), activate(scores, temperature)
    if kind == "softmax":
        expected = temperature**2 * kl(p, q).sum(-1)
    else:
        expected = temperature**2 * (kl(p, q) + kl(1 - p, 1 - q)).mean(-1)
    given = [x if logits else activate(x) for x in (taught, scores)]
    given = [_scores(tf.constant(x, "float32"), Prediction(kind, logits)) for x in given]
    found = _divergence(*given, kind, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_divergence_of_numbers_is_the_squared_difference():
    rng = np.random.default_rng(0)
    taught, scores = rng.normal(size=(2, 5, 3)).astype("float32")
    found = _divergence(taught, scores, "linear", 3.0)
    np.testing.assert_allclose(found, np.mean((taught - scores) ** 2, -1), rtol=1e-5)


def test_gradient_is_the_difference_of_softened_predictions_times_the_temperature():
    """So that it does not vanish with the temperature (Hinton 2015, section 2)."""
    rng = np.random.default_rng(0)
    taught, scores = (tf.constant(x, "float32") for x in rng.normal(size=(2, 5, 3)))
    for temperature in (1.0, 3.0, 20.0):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = tf.reduce_sum(_divergence(taught, scores, "softmax", temperature))
        difference = softmax(scores.numpy(), temperature) - softmax(taught.numpy(), temperature)
        found = tape.gradient(total, scores)
        np.testing.assert_allclose(found, temperature * difference, atol=1e-5)


def test_sure_predictions_give_finite_losses_and_gradients():
    sure = tf.constant([[1.0, 0.0, 0.0]])
    for kind in ("softmax", "sigmoid"):
        with tf.GradientTape() as tape:
            tape.watch(sure)
            scores = _scores(sure, Prediction(kind, False))
            value = _divergence(_scores(sure[:, ::-1], Prediction(kind, False)), scores, kind, 2.0)
        assert np.isfinite(value).all()
        assert np.isfinite(tape.gradient(value, sure)).all()


@pytest.mark.parametrize("hard_weight", [0.0, 0.3, 1.0])
def test_the_loss_is_made_of_labels_and_teacher(hard_weight):
    learner, expert, data = student(), teacher(), batches(samples=4)
    (x, y) = next(iter(data))
    q = learner.predict({"a": x["a"]}, verbose=0)["label"]
    p = expert.predict(x, verbose=0)["label"]
    hard = -np.log(q[np.arange(4), y]).mean()
    soft = 4 * kl(softmax(np.log(p), 2), softmax(np.log(q), 2)).sum(-1).mean()
    still = {"optimizer": keras.optimizers.SGD(0.0)}
    distil(
        learner,
        expert,
        data,
        epochs=1,
        temperature=2.0,
        hard_weight=hard_weight,
        compile=still,
        verbose=0,
    )
    found = learner.history.history
    assert found["loss"][0] == pytest.approx(
        hard_weight * hard + (1 - hard_weight) * soft, rel=1e-4
    )
    assert found["label_loss"][0] == pytest.approx(hard, rel=1e-4)
    assert found["label_distillation_loss"][0] == pytest.approx(soft, rel=1e-4)


def test_with_labels_alone_it_is_fit():
    taught, alone, data = student(), student(), batches()
    distil(taught, teacher(), data, epochs=2, hard_weight=1.0, verbose=0)
    only = data.map(lambda x, y: ({"a": x["a"]}, y))
    alone.fit(only, epochs=2, shuffle=False, verbose=0)
    for one, two in zip(kernels(taught), kernels(alone), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_the_student_comes_to_say_what_the_teacher_says():
    """Which sees a modality that the student lacks, and is itself left as it was."""
    learner, expert, data = student(), teacher(), batches(samples=40)
    before = kernels(expert), [layer.trainable for layer in expert.layers]
    x = {name: np.concatenate([b[0][name] for b in data]) for name in ("a", "b")}
    p = expert.predict(x, verbose=0)["label"]

    def distance():
        return kl(p, learner.predict({"a": x["a"]}, verbose=0)["label"]).sum(-1).mean()

    far = distance()
    assert distil(learner, expert, data, epochs=20, hard_weight=0.0, verbose=0) is learner
    assert distance() < 0.6 * far
    assert same(before[0], kernels(expert))
    assert before[1] == [layer.trainable for layer in expert.layers]
    assert not expert.compiled


def test_what_the_teacher_alone_sees_teaches():
    expert = teacher()
    results = []
    for seed in (0, 1):
        other = batches(seed=seed)
        mixed = tf.data.Dataset.zip(batches(), other).map(
            lambda one, two: ({"a": one[0]["a"], "b": two[0]["b"]}, one[1])
        )
        results.append(kernels(distil(student(), expert, mixed, epochs=1, verbose=0)))
    assert not same(*results)


def test_the_student_stays_a_plain_model_compiled_as_before(tmp_path):
    learner = student()
    optimizer = learner.optimizer
    distil(learner, teacher(), batches(), epochs=1, verbose=0)
    assert learner.optimizer is optimizer
    assert list(learner.input) == ["a"]
    assert not any("divergence" in layer.name for layer in learner.layers)
    x = {"a": np.ones((2, 4), "float32")}
    expected = learner.predict(x, verbose=0)["label"]
    loaded = mm.load(mm.export(learner, tmp_path / "m.keras", format="keras", check=False))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0)["label"], expected)
    learner.fit(x, np.array([0, 1]), verbose=0)
    fresh = builds(0, {"a": A})  # never compiled
    given = {"optimizer": "sgd", "loss": mm.losses.classification()}
    distil(fresh, teacher(), batches(), epochs=1, compile=given, verbose=0)
    assert not fresh.compiled


@pytest.mark.slow
def test_samples_of_no_weight_teach_nothing():
    weights = [1, 1, 0, 0] * 3
    expert = teacher()

    def taught(weights, spoilt):
        def spoil(x, y, w):
            wrong = tf.cast(w == 0, "float32")[:, None] if weights else tf.constant([[0.0]] * 4)
            return {name: value + spoilt * 10 * wrong for name, value in x.items()}, y, w

        data = batches(weights=weights).map(spoil)
        return kernels(distil(student(), expert, data, epochs=2, verbose=0))

    assert same(taught(weights, 0), taught(weights, 1))
    assert not same(taught(weights, 0), taught([1] * 12, 0))


def test_heads_by_name():
    heads = {"digit": 3, "tags": mm.MultiLabel(2, logits=True), "size": mm.Regression(1)}
    expert = builds(1, {"a": A, "b": B}, heads)
    learner = builds(
        0, {"a": A}, {"number": mm.Classification(3, logits=True), **heads}, auxiliary_heads=False
    )
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(6, 4)), "b": rng.normal(size=(6, 3))}
    y = {
        "number": rng.integers(0, 3, 6),
        "digit": rng.integers(0, 3, 6),
        "tags": rng.integers(0, 2, (6, 2)),
        "size": rng.normal(size=(6, 1)),
    }
    learner.compile(
        "adam",
        {
            "number": mm.losses.classification(from_logits=True),
            "digit": mm.losses.classification(),
            "tags": keras.losses.BinaryCrossentropy(from_logits=True),
            "size": "mse",
        },
        loss_weights={"number": 2.0},
        **CPU,
    )
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(6)
    still = {"optimizer": keras.optimizers.SGD(0.0)}
    pairs = {"number": "digit", "tags": "tags", "size": "size"}
    p, q = expert.predict(x, verbose=0), learner.predict({"a": x["a"]}, verbose=0)
    distil(learner, expert, data, epochs=1, temperature=2.0, heads=pairs, compile=still, verbose=0)
    found = {name: values[0] for name, values in learner.history.history.items()}
    soft = {
        "number": 4 * kl(softmax(np.log(p["digit"]), 2), softmax(q["number"], 2)).sum(-1).mean(),
        "size": np.mean((p["size"] - q["size"]) ** 2),
    }
    t, s = sigmoid(p["tags"], 2), sigmoid(q["tags"], 2)
    soft["tags"] = 4 * (kl(t, s) + kl(1 - t, 1 - s)).mean()
    for head, value in soft.items():
        assert found[f"{head}_distillation_loss"] == pytest.approx(value, rel=1e-3), head
    assert "digit_distillation_loss" not in found
    total = found["digit_loss"]  # of labels alone
    for head, weight in (("number", 2), ("tags", 1), ("size", 1)):
        total += weight * (0.3 * found[f"{head}_loss"] + 0.7 * found[f"{head}_distillation_loss"])
    assert found["loss"] == pytest.approx(total, rel=1e-4)


def test_fit_arguments():
    learner = student()
    seen = []
    distil(
        learner,
        teacher(),
        batches().repeat(),
        epochs=2,
        steps_per_epoch=3,
        compile={"metrics": ["accuracy"]},
        validation_data=batches(seed=1),
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)),
            keras.callbacks.EarlyStopping("val_label_accuracy", mode="max", patience=9),
        ],
        verbose=0,
    )
    assert seen == [0, 1]
    assert len(learner.history.history["val_label_accuracy"]) == 2


def test_absent_modalities_of_the_teacher():
    """The teacher is told who lacks what; the student never sees it."""
    keras.utils.set_random_seed(1)
    expert = mm.build_mcnn({"a": A, "b": mm.Features(3, optional=True)}, 3, width=8)

    def absent(garbage):
        def change(x, y):
            here = tf.constant([[True], [False]] * 2)
            b = tf.where(here, x["b"], garbage * tf.ones_like(x["b"]))
            return {"a": x["a"], "b": b, "b_present": here}, y

        return kernels(distil(student(), expert, batches().map(change), epochs=1, verbose=0))

    assert same(absent(0.0), absent(1e6))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, "`temperature` must be above 0"),
        ({"hard_weight": 1.5}, ValueError, "`hard_weight` must be at most 1"),
        ({"hard_weight": -1}, ValueError, "`hard_weight` must be at least 0"),
        ({"heads": ["lable"]}, ValueError, "`heads` must be one of .*'label'"),
        ({"heads": {"label": "gates"}}, ValueError, "`heads, of the teacher,` must be one of"),
        ({"heads": "label"}, TypeError, "`heads` must be names of outputs"),
        ({"compile": {"optimiser": "adam"}}, ValueError, "Did you mean 'optimizer'"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
        ({"train": [1, 2]}, TypeError, "`train` must be a tf.data.Dataset"),
        ({"validation_data": {}}, TypeError, "`validation_data` must be a tf.data.Dataset"),
        ({"teacher": "teacher"}, TypeError, "`teacher` must be a functional keras.Model"),
        ({"student": keras.Sequential()}, TypeError, "`student` must be a functional keras.Model"),
    ],
)
def test_errors(change, error, message):
    learner, expert = student(), teacher()
    arguments = {"student": learner, "teacher": expert, "train": batches(), "epochs": 1, **change}
    before = kernels(learner)
    with pytest.raises(error, match=message):
        distil(**arguments, verbose=0)
    assert same(before, kernels(learner))


def test_models_and_data_that_do_not_fit():
    learner, expert = student(), teacher()
    with pytest.raises(ValueError, match=r"`train` must give batches .*Missing: \['b'\]"):
        distil(learner, expert, batches().map(lambda x, y: ({"a": x["a"]}, y)), verbose=0)
    with pytest.raises(ValueError, match=r"one number of units. .*\(None, 5\)"):
        distil(learner, builds(0, {"a": A}, 5), batches(), verbose=0)
    with pytest.raises(ValueError, match=r"`heads` must map outputs .* none has the same name"):
        distil(learner, builds(0, {"a": A}, {"kind": 3}), batches(), verbose=0)
    with pytest.raises(ValueError, match=r"give the input another name. Received: 'a' of shape"):
        distil(learner, builds(0, {"a": mm.Features(7)}), batches(), verbose=0)
    with pytest.raises(ValueError, match=r"`compile` must hold optimizer and loss"):
        distil(builds(0, {"a": A}), expert, batches(), verbose=0)
    inputs = keras.Input((4,), name="a")
    odd = keras.Model({"a": inputs}, {"label": keras.layers.Dense(3, "tanh", name="label")(inputs)})
    with pytest.raises(
        ValueError, match=r"`teacher` must have softmax, .*'label', activation 'tanh'"
    ):
        distil(learner, odd, batches(), verbose=0)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="MM_KERAS_DATA is not set")
def test_a_student_of_one_view_profits_from_a_teacher_of_six():
    """Handwritten digits in six feature views (mfeat), 20 of each class; means of three seeds."""
    with np.load(pathlib.Path(DATA) / "mfeat" / "mfeat.npz") as file:
        views = {name: file[name].astype("float32") for name in file if name != "y"}
        labels = file["y"].astype("int32").ravel()
    views = {name: (x - x.mean(0)) / (x.std(0) + 1e-6) for name, x in views.items()}
    specs = {name: mm.Features(x.shape[1]) for name, x in views.items()}

    def trained(names, seed, **options):
        keras.utils.set_random_seed(seed)
        model = mm.build_mcnn({name: specs[name] for name in names}, 10, width=32, **options)
        model.compile(keras.optimizers.Adam(3e-3), mm.losses.classification(), **CPU)
        return model

    gains = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        order = np.stack([rng.permutation(np.flatnonzero(labels == c)) for c in range(10)])
        train, test = order[:, :20].ravel(), order[:, 50:].ravel()
        data = tf.data.Dataset.from_tensor_slices(
            ({name: x[train] for name, x in views.items()}, labels[train])
        )
        # An epoch is 15 passes: what lies between epochs takes longer than a pass.
        data = data.cache().shuffle(200, seed=seed).batch(50).repeat(15)
        expert = trained(specs, seed)
        expert.fit(data, epochs=2, shuffle=False, verbose=0)
        alone, taught = (trained(["zer"], seed + 10, hidden=(32,)) for _ in range(2))
        only = data.map(lambda x, y: ({"zer": x["zer"]}, y))
        alone.fit(only, epochs=4, shuffle=False, verbose=0)
        distil(taught, expert, data, epochs=4, verbose=0)
        found = [
            m.predict({"zer": views["zer"][test]}, verbose=0)["label"] for m in (alone, taught)
        ]
        accuracy = [np.mean(one.argmax(-1) == labels[test]) for one in found]
        gains.append(accuracy[1] - accuracy[0])

    assert np.mean(gains) > 0, gains
