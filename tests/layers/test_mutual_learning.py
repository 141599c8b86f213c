"""Mutual learning against loops in NumPy, and who learns from whom."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_keras.layers import MutualLearning
from mm_keras.layers.mutual_learning import TARGETS
from mm_keras.layers.students import ACTIVATIONS
from tests.conformance.cases import floats

NAMES = ("a", "b", "c")
Z = {name: 2 * floats(4, 5, seed=index) for index, name in enumerate(NAMES)}
# Samples: all three students, two, one, none.
MASK = {
    "a": np.array([[1], [1], [0], [0]], "bool"),
    "b": np.array([[0, 1], [0, 0], [1, 1], [0, 0]], "bool"),  # positions of a text
    "c": np.array([[1], [1], [0], [0]], "bool"),
}
PRESENT = {name: m.any(axis=1) for name, m in MASK.items()}
EVERYWHERE = {name: np.ones(4, "bool") for name in NAMES}


def softmax(z):
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def kl(p, q):
    return np.sum(p * np.log(p / q))


def distance(activation, taught, z, temperature):
    """How far the learner's values z, of one sample, are from a teacher's prediction."""
    if activation == "softmax":
        return temperature**2 * kl(taught, softmax(z / temperature))
    if activation == "sigmoid":
        own = sigmoid(z / temperature)
        pairs = zip(taught, own, strict=True)
        bernoulli = [kl(np.array([p, 1 - p]), np.array([q, 1 - q])) for p, q in pairs]
        return temperature**2 * np.mean(bernoulli)
    return np.mean((taught - z) ** 2)


def predict(activation, z, temperature):
    functions = {"softmax": softmax, "sigmoid": sigmoid, "linear": lambda x: x}
    return functions[activation](z / temperature)


def oracle(z, present, activation, temperature, target):
    """Returns `{student: (B,)}`, in loops."""
    found = {name: np.zeros(4) for name in z}
    for learner, sample in itertools.product(z, range(4)):
        teachers = [n for n in z if n != learner and present[n][sample]]
        if not teachers or not present[learner][sample]:
            continue
        taught = [
            predict(activation, z[n][sample].astype("float64"), temperature) for n in teachers
        ]
        if target == "mean":
            taught = [np.mean(taught, axis=0)]
        far = [distance(activation, p, z[learner][sample], temperature) for p in taught]
        found[learner][sample] = np.mean(far)
    return found


def loss_of(layer, z, mask=None):
    layer(z, mask=mask, training=True)
    return sum(float(loss) for loss in layer.losses)


def built(*args, **kwargs):
    layer = MutualLearning(*args, **kwargs)
    layer.build(dict.fromkeys(NAMES, (None, 5)))
    return layer


def temperature_of(activation, temperature):
    return 1.0 if activation == "linear" else temperature


@pytest.mark.parametrize("mask", [None, MASK], ids=["all present", "some absent"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_oracle(activation, target, temperature, mask):
    temperature = temperature_of(activation, temperature)
    layer = built(activation, temperature, 0.7, target)
    expected = oracle(Z, PRESENT if mask else EVERYWHERE, activation, temperature, target)
    for name, found in layer.divergences(Z, mask).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)
    total = 0.7 * sum(values.mean() for values in expected.values())
    np.testing.assert_allclose(loss_of(layer, Z, mask), total, rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equal_students_have_nothing_to_learn(activation, target):
    equal = dict.fromkeys(NAMES, Z["a"])
    assert abs(loss_of(built(activation, target=target), equal)) < 1e-6
    assert loss_of(built(activation, target=target), Z) > 0.1


def gradients(z, loss_of_tensors):
    """Returns `{name: (B, C)}` of a loss by the students' values."""
    tensors = {name: tf.constant(value) for name, value in z.items()}
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        loss = loss_of_tensors(tensors)
    found = tape.gradient(loss, tensors, unconnected_gradients="zero")
    return {name: value.numpy() for name, value in found.items()}


def mutual_gradients(layer, z, mask=None):
    def loss(tensors):
        layer(tensors, mask=mask, training=True)
        return sum(layer.losses)

    return gradients(z, loss)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (3.0, 0.5)])
def test_gradient_of_each_student_is_that_of_its_own_loss(temperature, weight, target):
    labels = np.array([0, 3, 1, 4])
    layer = built("softmax", temperature, weight, target)

    def loss(tensors):
        layer(tensors, training=True)
        own = [
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=tensor)
            for tensor in tensors.values()
        ]
        return sum(map(tf.reduce_mean, own)) + sum(layer.losses)

    found = gradients(Z, loss)
    soft = {name: softmax(z / temperature) for name, z in Z.items()}
    for name, z in Z.items():
        others = np.mean([soft[n] for n in NAMES if n != name], axis=0)
        mutual = weight * temperature * (soft[name] - others)
        # At T = w = 1: (p_k − y + p_k − mean p_l) / B. Peers as learners would add terms.
        expected = (softmax(z) - np.eye(5)[labels] + mutual) / len(labels)
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_reaches_the_peers(activation, target):
    layer = built(activation, target=target)
    for learner in NAMES:
        found = gradients(
            Z, lambda z, learner=learner: tf.reduce_sum(layer.divergences(z)[learner])
        )
        assert np.abs(found[learner]).max() > 1e-3
        for peer in set(NAMES) - {learner}:
            assert not found[peer].any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_targets_differ_in_value_and_agree_in_gradient(activation):
    layers = [built(activation, target=target) for target in TARGETS]
    values = [loss_of(layer, Z) for layer in layers]
    assert values[0] > values[1] + 0.01  # by the peers' distance from their mean
    each, mean = (mutual_gradients(layer, Z) for layer in layers)
    for name in NAMES:
        np.testing.assert_allclose(each[name], mean[name], atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_swapping_students_swaps_losses(activation, target):
    layer = built(activation, target=target)
    swapped = layer.divergences({"a": Z["b"], "b": Z["a"], "c": Z["c"]})
    straight = layer.divergences(Z)
    for one, other in (("a", "b"), ("b", "a"), ("c", "c")):
        np.testing.assert_allclose(swapped[one], straight[other], rtol=1e-5)
    assert np.abs(straight["a"] - straight["b"]).max() > 0.01


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_absent_students_neither_teach_nor_learn(activation, target):
    layer = built(activation, target=target)
    garbage = {name: np.where(PRESENT[name][:, None], z, 1e9) for name, z in Z.items()}
    np.testing.assert_allclose(loss_of(layer, garbage, MASK), loss_of(layer, Z, MASK), rtol=1e-6)
    found = mutual_gradients(layer, garbage, MASK)
    for name in NAMES:
        # Sample 1 has two students, the last two samples nobody to learn from.
        learns = PRESENT[name] & np.array([True, True, False, False])
        assert (np.abs(found[name]).max(axis=1) > 1e-4).tolist() == learns.tolist()


def test_loss_after_it_does_not_train_absent_students():
    layer = built()
    layer.current_weight.assign(0)

    def loss(tensors):
        outputs = layer(tensors, mask=MASK, training=True)
        return sum(tf.reduce_sum(output**2) for output in outputs.values())

    for name, found in gradients(Z, loss).items():
        np.testing.assert_allclose(found, 2 * Z[name] * PRESENT[name][:, None], rtol=1e-6)


def test_without_training_it_returns_its_inputs_and_adds_no_loss():
    layer = built()
    outputs = layer(Z, mask=MASK, training=False)
    assert not layer.losses
    for name, z in Z.items():
        np.testing.assert_array_equal(outputs[name], z)


def test_one_student_has_nobody_to_learn_from():
    layer = MutualLearning()
    outputs = layer({"a": Z["a"]}, training=True)
    assert not layer.losses
    np.testing.assert_array_equal(outputs["a"], Z["a"])


def test_weight_acts_within_a_compiled_function():
    layer = built(weight=2.0)

    @tf.function
    def compiled():
        layer(Z, training=True)
        return sum(layer.losses)

    full = float(compiled())
    layer.current_weight.assign(0.5)
    np.testing.assert_allclose(float(compiled()), full / 4, rtol=1e-5)
    layer.current_weight.assign(0.0)
    assert float(compiled()) == 0


def test_high_temperature_compares_logits():
    """T² KL tends to half the squared distance of the centred logits, per class."""
    layer = built(temperature=50.0)
    centred = {name: z - z.mean(axis=1, keepdims=True) for name, z in Z.items()}
    expected = np.mean([(centred["a"] - centred[n]) ** 2 for n in ("b", "c")], axis=0)
    np.testing.assert_allclose(layer.divergences(Z)["a"], expected.sum(axis=1) / (2 * 5), rtol=0.05)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_extreme_float16_logits_stay_finite(activation, target):
    sure = np.array([[6e4, -6e4, 0]], "float16")
    layer = MutualLearning(activation, target=target, dtype="mixed_float16")
    z = {"a": sure, "b": -sure}
    assert np.isfinite(loss_of(layer, z))
    found = mutual_gradients(layer, z)
    assert np.isfinite(found["a"]).all()
    assert found["a"].any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"activation": "relu"}, ValueError, "`activation` must be one of .*activation='relu'"),
        ({"temperature": 0}, ValueError, "`temperature` must be above 0 and finite.*temperature=0"),
        ({"temperature": -1.0}, ValueError, "`temperature` must be at least 0.0.*temperature=-1.0"),
        ({"temperature": float("inf")}, ValueError, "`temperature` must be .*temperature=inf"),
        ({"temperature": "hot"}, TypeError, "`temperature` must be a number.*'hot'"),
        (
            {"activation": "linear", "temperature": 2.0},
            ValueError,
            "`temperature` must be 1 where the prediction is a number.*temperature=2.0",
        ),
        ({"weight": -1}, ValueError, "`weight` must be at least 0.0.*weight=-1"),
        ({"target": "others"}, ValueError, r"`target` must be one of \['peers', 'mean'\]"),
    ],
)
def test_errors_of_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MutualLearning(**arguments)


def test_errors_of_inputs():
    with pytest.raises(TypeError, match="`inputs` of MutualLearning must be a dict"):
        MutualLearning()(Z["a"])
    with pytest.raises(ValueError, match=r"must be \(B, C\), with one C for all students"):
        MutualLearning()({"a": Z["a"], "b": Z["b"][:, :2]})
    with pytest.raises(ValueError, match=r"must be \(B, C\), with one C for all students"):
        MutualLearning()({"a": Z["a"][:, None], "b": Z["b"][:, None]})
    with pytest.raises(ValueError, match=r"must have names out of .* Received also: \['d'\]"):
        MutualLearning()(Z, mask={"d": MASK["a"]}, training=True)


def test_hand_made_graph_trains_without_the_builder():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), name="x")
    logits = {name: keras.layers.Dense(3, name=name)(inputs) for name in "ab"}
    model = keras.Model(inputs, MutualLearning(weight=5.0)(logits))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), dict.fromkeys("ab", loss), jit_compile=False)
    before = model.predict(Z["a"], verbose=0)
    labels = np.array([0, 2, 1, 0])
    model.fit(Z["a"], dict.fromkeys("ab", labels), epochs=40, verbose=0)
    after = model.predict(Z["a"], verbose=0)
    apart = [np.abs(softmax(x["a"]) - softmax(x["b"])).max() for x in (before, after)]
    assert apart[1] < 0.2 * apart[0]
