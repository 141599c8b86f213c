"""The gradient of the modality that is ahead, held back."""

import math
from collections.abc import Mapping

import keras
from keras import ops

from mm_keras._checks import check_bool, check_choice, check_number
from mm_keras.layers.training_only import TrainingOnly

SMALLEST = 1e-6  # of a score that is divided by, and of a doubt
TINY = 1e-30  # added to a probability that is divided by


@keras.saving.register_keras_serializable("mm_keras")
class GradientModulation(TrainingOnly, keras.layers.Layer):
    """Holds back, in training, the gradient of modalities that are ahead: OGM-GE.

    Trained together, a modality that is easy to learn soon explains the labels, and leaves the
    encoders of the others hardly any gradient. Each modality m has a score `s_m`: the mean
    probability, over the samples of the batch that have m, that its own auxiliary head gives to the
    true class. With the ratio `r_m = s_m / mean_{l≠m} s_l`, the gradient that comes back from the
    fusion into the features of m is multiplied by

        k_m = 1 − tanh(a r_m) where r_m > 1, else 1.

    It needs no labels and no callback: the gradient that comes back from a head's loss is negative
    at the logits of what is true, and nowhere else. So the losses of the heads, which must be
    cross-entropies (of this package or Keras; their weights don't matter), say the scores of the
    very step. A head whose loss has a weight as small as 1e-3 only observes: its encoder then
    learns from the fusion alone, as in the paper.

    The gradient of the heads passes as it is. `mm.inference_model` removes the layer.

    Args:
        alpha: a, at least 0: how strongly what is ahead is held back. At 0 the layer does nothing.
        activation: What turns logits into probabilities: `"softmax"`, or `"sigmoid"` for
            independent labels, whose probabilities of being right are averaged.
        noise: Whether Gaussian noise is added to the gradients that are held back, with their own
            standard deviation over the batch: what they lack in size they keep in noise, which is
            said to generalise better (the GE of the name).
        seed: Of the noise.

    Call arguments:
        inputs: `(features, logits)`: `{name: (B, …)}`, and `{name: (B, C)}` of the auxiliary heads,
            before the activation. Both have the same two names or more. What comes out goes on to
            the fusion, and to the heads' activations and losses.
        mask: Optional, `{name: (B, N) or (B, 1) bool}`; a name left out is present throughout. A
            sample without any position of a modality has no part in its score. A modality that no
            sample has holds nobody back.

    Output shape:
        That of `inputs`, with the same numbers in it.

    Raises:
        ValueError: If an argument doesn't fit, or features and logits have other names.
        TypeError: If `inputs` are no two dicts.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.GradientModulation(alpha=0.5)
    >>> shares = layer.coefficients(np.array([0.9, 0.3]))  # scores of two modalities
    >>> [round(float(k), 3) for k in shares]
    [0.095, 1.0]

    Reference: Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation, 2022;
    there the scores are read off the fused classifier, which must be linear.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        activation: str = "softmax",
        noise: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        check_number("alpha", alpha)
        check_choice("activation", activation, ("softmax", "sigmoid"))
        check_bool("noise", noise)
        self.alpha = alpha
        self.activation = activation
        self.noise = noise
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if noise else None
        self.supports_masking = True

    def build(self, inputs_shape):
        is_pair = isinstance(inputs_shape, list | tuple) and len(inputs_shape) == 2
        if not is_pair or not all(isinstance(part, Mapping) for part in inputs_shape):
            raise TypeError(
                "`inputs` of GradientModulation must be ({name: (B, …)}, {name: (B, C)}): features "
                f"and logits. Received shapes: {inputs_shape!r}."
            )
        features, logits = inputs_shape
        if sorted(features) != sorted(logits) or len(features) < 2:
            raise ValueError(
                "`inputs` of GradientModulation must have the same names, two or more, in features "
                f"and logits. Received: {sorted(features)}, {sorted(logits)}."
            )
        if any(len(shape) != 2 for shape in logits.values()):
            raise ValueError(
                "`inputs` of GradientModulation must have logits (B, C). "
                f"Received shapes: {dict(logits)}."
            )
        self.names = sorted(features)

    def call(self, inputs, mask=None, training=False):
        features, logits = inputs
        if not training or not self.alpha:
            return features, logits
        parts = [features[name] for name in self.names] + [logits[name] for name in self.names]
        count = len(self.names)
        mask = self._given(mask)
        shapes = [ops.shape(part) for part in parts]
        widths = [math.prod(shape[1:]) for shape in shapes]
        flat = [
            ops.reshape(ops.cast(part, "float32"), (shape[0], width))
            for part, shape, width in zip(parts, shapes, widths, strict=True)
        ]
        probabilities = [ops.stop_gradient(self._probabilities(part)) for part in flat[count:]]
        present = [self._present(name, mask, flat[0]) for name in self.names]
        noise = None
        if self.noise:
            shape = (ops.shape(flat[0])[0], sum(widths[:count]))
            noise = keras.random.normal(shape, seed=self.seed_generator)

        def modulated(upstream):
            """Returns the gradient of all parts, side by side, of that which comes back."""
            pieces = _split(upstream, widths)
            scores, known = [], []
            for gradient, p, here in zip(pieces[count:], probabilities, present, strict=True):
                score, informed = self._score(gradient, p, here)
                scores.append(score)
                known.append(informed)
            shares = self.coefficients(ops.stack(scores), ops.stack(known))
            scaled = [pieces[index] * shares[index] for index in range(count)]
            if noise is not None:
                scaled = [
                    gradient + _noise(gradient, own, here) * ops.cast(shares[index] < 1, "float32")
                    for index, (gradient, own, here) in enumerate(
                        zip(scaled, _split(noise, widths[:count]), present, strict=True)
                    )
                ]
            return ops.concatenate([*scaled, *pieces[count:]], axis=1)

        # One tensor in and out: custom gradients of PyTorch's backend take no more.
        @ops.custom_gradient
        def identity(x):
            def grad(*args, upstream=None):
                return modulated(args[0] if upstream is None else upstream)

            return x, grad

        passed = _split(identity(ops.concatenate(flat, axis=1)), widths)
        passed = [
            ops.cast(ops.reshape(piece, shape), part.dtype)
            for piece, part, shape in zip(passed, parts, shapes, strict=True)
        ]
        found = dict(zip(self.names, passed[:count], strict=True))
        return found, dict(zip(self.names, passed[count:], strict=True))

    def coefficients(self, scores, known=None):
        """Returns k of each modality, `(M,)`.

        Args:
            scores: `(M,)`, at least 0.
            known: Optional, `(M,)` bool: which of them count. The others get 1.
        """
        scores = ops.cast(scores, "float32")
        known = ops.ones_like(scores) if known is None else ops.cast(known, "float32")
        scores = scores * known
        others = ops.sum(known) - known
        mean = (ops.sum(scores) - scores) / ops.maximum(others, 1.0)
        ratio = scores / ops.maximum(mean, SMALLEST)
        ahead = ops.logical_and(ratio > 1, ops.logical_and(known > 0, others > 0))
        return ops.where(ahead, 1.0 - ops.tanh(self.alpha * ratio), ops.ones_like(ratio))

    def _probabilities(self, logits):
        return ops.softmax(logits) if self.activation == "softmax" else ops.sigmoid(logits)

    def _given(self, mask):
        """Returns the masks that there are, by name."""
        if isinstance(mask, list | tuple):  # Keras passes those attached to the inputs so
            mask = mask[0]
        mask = {name: m for name, m in (mask or {}).items() if m is not None}
        unknown = sorted(set(mask) - set(self.names))
        if unknown:
            raise ValueError(
                f"`mask` of GradientModulation must have names out of {self.names}. "
                f"Received also: {unknown}."
            )
        return mask

    def _present(self, name, mask, like):
        """Returns `(B, 1)` float: which samples have a modality."""
        if name not in mask:
            return ops.ones_like(like[:, :1])
        return ops.cast(ops.any(ops.cast(mask[name], "bool"), axis=1, keepdims=True), "float32")

    def _score(self, gradient, p, here):
        """Returns the mean probability of what is true, and whether any sample says it."""
        if self.activation == "softmax":
            # The gradient p − y over p is 1 for what is wrong, up to a common weight, and at most 0
            # for what is true: so rounding at p = 1 decides nothing.
            relative = gradient / (p + TINY)
            true = relative < 0.5 * ops.max(relative, axis=1, keepdims=True)
            right = ops.sum(ops.cast(true, "float32") * p, axis=1, keepdims=True)
            surest = ops.max(p, axis=1, keepdims=True)
        else:
            sure = ops.maximum(p, 1.0 - p)
            right = ops.where(gradient < 0, p, ops.where(gradient > 0, 1.0 - p, sure))
            right = ops.mean(right, axis=1, keepdims=True)
            surest = ops.min(sure, axis=1, keepdims=True)
        # Without a gradient a sample has the weight 0 and says nothing, or is as right as can be.
        learns = ops.any(gradient != 0, axis=1, keepdims=True)
        saturated = ops.logical_and(ops.logical_not(learns), surest > 1.0 - SMALLEST)
        right = ops.where(saturated, surest, right)
        says = ops.cast(ops.logical_or(learns, saturated), "float32") * here
        count = ops.sum(says)
        return ops.sum(right * says) / ops.maximum(count, 1.0), count > 0

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None, training=False):
        return tuple(
            {name: keras.KerasTensor(x.shape, dtype=x.dtype) for name, x in part.items()}
            for part in inputs
        )

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "activation": self.activation,
            "noise": self.noise,
            "seed": self.seed,
        }


def _split(x, widths):
    """Returns the columns of `(B, ΣW)` in blocks of these widths."""
    found, start = [], 0
    for width in widths:
        found.append(x[:, start : start + width])
        start += width
    return found


def _noise(gradient, draws, here):
    """Returns noise with the standard deviation that a gradient has over the samples present."""
    count = ops.maximum(ops.sum(here), 1.0)
    mean = ops.sum(gradient * here, axis=0, keepdims=True) / count
    variance = ops.sum(ops.square(gradient - mean) * here, axis=0, keepdims=True) / count
    return draws * ops.sqrt(variance) * here
