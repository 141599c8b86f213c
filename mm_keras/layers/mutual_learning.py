"""Students that learn from each other's predictions."""

import keras
from keras import ops

from mm_keras._checks import check_choice, check_number, check_positive
from mm_keras.layers.students import ACTIVATIONS, check_students, stack_students
from mm_keras.layers.training_only import TrainingOnly

TARGETS = ("peers", "mean")


@keras.saving.register_keras_serializable("mm_keras")
class MutualLearning(TrainingOnly, keras.layers.Layer):
    """Adds, in training, the divergence of each student from its peers to the loss.

    `w Σ_k 1/(K−1) Σ_{l≠k} T² KL(p_l ‖ p_k)`, averaged over the batch, with `p = softmax(z / T)`.
    Peers are targets: no gradient reaches them, so that each student gets that of its own
    divergence alone. At T = w = 1 that is `(p_k − mean_{l≠k} p_l) / B`. A divergence is summed
    over classes, and averaged over independent labels or numbers, as Keras' cross-entropies and
    squared error are: w weighs it against them alike, however many there are.

    It returns its inputs, so that whatever is made of them comes after it. The weight w is the
    non-trainable variable `current_weight`: without a warm-up small networks collapse to the
    uniform prediction, so let `mm.training.MutualRampUp` raise it. A single student has nobody to
    learn from, and gets no loss. `mm.inference_model` removes the layer.

    Args:
        activation: What turns the inputs into predictions: `"softmax"`: classes; `"sigmoid"`:
            independent labels, with the divergence of Bernoulli distributions; `"linear"`: numbers,
            with the squared difference, which takes no temperature.
        temperature: T, above 0: above 1 it softens the predictions that are compared.
        weight: w where `current_weight` starts and the ramp ends.
        target: `"peers"`: the mean of the divergences from each peer; `"mean"`: the divergence
            from the mean of the peers' predictions. The values differ, the gradients don't.

    Call arguments:
        inputs: `{student: (B, C)}`: values before the activation.
        mask: Optional, `{student: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            Where a student has no position it neither teaches nor learns: its peers' mean is over
            the others, and no gradient at all passes it, its own loss's included.

    Output shape:
        That of `inputs`.

    Raises:
        ValueError: If an argument, or the inputs' shapes, don't fit.
        TypeError: If `inputs` is no dict.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.MutualLearning()
    >>> logits = {"image": np.array([[2.0, 0.0]]), "audio": np.array([[0.0, 0.0]])}
    >>> outputs = layer(logits, training=True)
    >>> round(float(layer.losses[0]), 2)
    0.76

    Reference: Zhang et al., Deep Mutual Learning, 2018.
    """

    def __init__(
        self,
        activation: str = "softmax",
        temperature: float = 1.0,
        weight: float = 1.0,
        target: str = "peers",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        check_choice("activation", activation, ACTIVATIONS)
        check_temperature(temperature, activation)
        check_number("weight", weight)
        check_choice("target", target, TARGETS)
        self.activation = activation
        self.temperature = temperature
        self.weight = weight
        self.target = target
        self.supports_masking = True

    def build(self, inputs_shape):
        self.names = check_students("MutualLearning", inputs_shape)
        self.current_weight = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.weight),
            dtype="float32",
            trainable=False,
            name="current_weight",
        )

    def call(self, inputs, mask=None, training=False):
        if not training:
            return inputs
        if len(self.names) > 1:
            means = [ops.mean(loss) for loss in self.divergences(inputs, mask).values()]
            self.add_loss(self.current_weight * sum(means))
        mask = {name: m for name, m in (mask or {}).items() if m is not None}
        return {name: _without_absent(x, mask.get(name)) for name, x in inputs.items()}

    def divergences(self, inputs, mask=None):
        """Returns `{student: (B,)}`: how far each is from its peers, without the weight w."""
        x, present = stack_students("MutualLearning", self.names, inputs, mask)
        present = ops.cast(present, "float32")
        # Axis 0: the teacher l, axis 1: the learner k.
        pairs = (
            present[:, None] * present[None] * (1.0 - ops.eye(len(self.names))[:, :, None, None])
        )
        shares = pairs / ops.maximum(ops.sum(pairs, axis=0), 1.0)
        if self.activation == "linear":
            values = _squares(x, shares, self.target)
        else:
            x = x / self.temperature
            if self.activation == "sigmoid":  # a label and its opposite are two classes
                logs = ops.stack([ops.log_sigmoid(x), ops.log_sigmoid(-x)], axis=-1)
            else:
                logs = ops.expand_dims(ops.log_softmax(x, axis=-1), 2)
            values = _divergences(logs, shares, self.target) * self.temperature**2
        if self.activation != "softmax":
            values = values / x.shape[-1]
        return {name: values[index] for index, name in enumerate(self.names)}

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None, training=False):
        return {name: keras.KerasTensor(x.shape, dtype=x.dtype) for name, x in inputs.items()}

    def get_config(self):
        return {
            **super().get_config(),
            "activation": self.activation,
            "temperature": self.temperature,
            "weight": self.weight,
            "target": self.target,
        }


def check_temperature(temperature: float, activation: str) -> None:
    """Raises unless `temperature` is above 0, and 1 where there is no distribution to soften."""
    check_positive("temperature", temperature)
    if activation == "linear" and temperature != 1:
        raise ValueError(
            "`temperature` must be 1 where the prediction is a number, which is no distribution "
            f"to soften. Received: temperature={temperature}."
        )


def _without_absent(x, mask):
    """Returns `x`, through which no gradient passes where the mask has no position."""
    if mask is None:
        return x
    present = ops.any(ops.cast(mask, "bool"), axis=1, keepdims=True)
    return ops.where(present, x, ops.stop_gradient(x))


def _divergences(logs, shares, target):
    """Kullback-Leibler divergences `(K, B)` of log-probabilities `(K, B, C, 2)` or `(K, B, 1, C)`.

    `shares`, `(K, K, B, 1)`, says how much each teacher counts with each learner.
    """
    taught = ops.stop_gradient(logs)
    shares = shares[..., None]
    if target == "peers":
        pairs = ops.exp(taught)[:, None] * (taught[:, None] - logs[None])
        return ops.sum(shares * pairs, axis=(0, 3, 4))
    mean = ops.sum(shares * ops.exp(taught)[:, None], axis=0)
    positive = mean > 0  # 0 · log 0 is 0: underflow, or a learner without teachers
    log_mean = ops.log(ops.where(positive, mean, ops.ones_like(mean)))
    terms = mean * (log_mean - logs)
    return ops.sum(ops.where(positive, terms, ops.zeros_like(terms)), axis=(2, 3))


def _squares(x, shares, target):
    """Squared differences `(K, B)` of numbers `(K, B, C)`."""
    taught = ops.stop_gradient(x)[:, None]
    if target == "peers":
        return ops.sum(shares * ops.square(taught - x[None]), axis=(0, 3))
    mean = ops.sum(shares * taught, axis=0)
    has_peers = ops.sum(shares, axis=0) > 0
    squares = ops.where(has_peers, ops.square(mean - x), ops.zeros_like(x))
    return ops.sum(squares, axis=2)
